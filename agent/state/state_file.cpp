// SPDX-License-Identifier: Apache-2.0
#include "agent/state/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <vector>

#include "underpass/unique_fd.h"

namespace underpass::state {
namespace {

Result<void> write_synced(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!fd) return fail_errno("create " + path);
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("write " + path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd.get()) != 0) return fail_errno("sync " + path);
  return {};
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno("sync folder " + folder.string());
  return {};
}

}  // namespace

Result<std::optional<std::string>> read_state_file(const std::string& path, std::size_t longest) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    return fail_errno("open " + path);
  }
  std::string text;
  std::vector<char> chunk(64UL * 1024);
  for (;;) {
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + path);
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > longest) return fail(path + ": longer than " + std::to_string(longest) + " bytes");
  }
}

Result<void> replace_state_file(const std::string& path, std::string_view text) {
  const auto folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail("make folder " + folder.string() + ": " + error.message());

  const std::string next = path + ".new";
  if (Result<void> written = write_synced(next, text); !written) return written;
  if (::rename(next.c_str(), path.c_str()) != 0) return fail_errno("rename " + next + " to " + path);
  return sync_folder(folder);
}

Result<void> remove_state_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return sync_folder(std::filesystem::path(path).parent_path());
  if (errno == ENOENT) return {};
  return fail_errno("remove " + path);
}

}  // namespace underpass::state
