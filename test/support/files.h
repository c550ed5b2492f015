// SPDX-License-Identifier: Apache-2.0
// Files and folders of a test. Errors are exceptions: a test that cannot prepare its ground has failed, and doctest
// reports what() (so it is everywhere in test/support).
#pragma once

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

#include "underpass/unique_fd.h"

namespace underpass::test {

namespace fs = std::filesystem;

// std::runtime_error "what: strerror(error)".
[[noreturn]] void throw_errno(std::string_view what, int error = errno);

// The whole file; throws if it cannot be read. Works for /proc, where sizes are 0.
std::string read_file(const fs::path& path);
// The whole content of an open file from offset 0; its position does not move.
std::string read_fd(int fd);
// One write() to a file that exists: sysctls, cgroup.procs.
void write_existing(const fs::path& path, std::string_view text);
// A new content in one step: a hidden file beside it, then rename.
void write_atomically(const fs::path& path, std::string_view text);

// open() with O_CLOEXEC; throws with the path.
UniqueFd open_file(const fs::path& path, int flags);

}  // namespace underpass::test
