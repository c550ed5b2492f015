// SPDX-License-Identifier: Apache-2.0
#include "test/support/files.h"

#include <fcntl.h>

#include <array>
#include <cstring>
#include <fstream>

namespace underpass::test {

void throw_errno(std::string_view what, int error) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(error));
}

std::string read_fd(int fd) {
  std::string text;
  std::array<char, 16384> part;
  while (true) {
    const ssize_t n = ::pread(fd, part.data(), part.size(), static_cast<off_t>(text.size()));
    if (n < 0) throw_errno("read");
    if (n == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
}

UniqueFd open_file(const fs::path& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd) throw_errno("open " + path.string());
  return fd;
}

std::string read_file(const fs::path& path) { return read_fd(open_file(path, O_RDONLY).get()); }

void write_existing(const fs::path& path, std::string_view text) {
  const UniqueFd fd = open_file(path, O_WRONLY);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw_errno("write \"" + std::string(text) + "\" to " + path.string());
  }
}

void write_atomically(const fs::path& path, std::string_view text) {
  const fs::path hidden = path.parent_path() / ("." + path.filename().string() + ".new");
  {
    std::ofstream out(hidden, std::ios::binary | std::ios::trunc);
    out << text;
    if (!out.flush()) throw_errno("write " + hidden.string());
  }
  fs::rename(hidden, path);
}

}  // namespace underpass::test
