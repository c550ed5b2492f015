// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/node_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "agent/k8s/read_file.h"

namespace underpass::cni {
namespace {

constexpr std::size_t kLongestFile = std::size_t{64} << 20;
const std::string kNew{kUnfinished};

Result<void> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("write");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

// Labels and access lists. Where the file system or our rights do not allow one, the file has what new ones get.
void copy_attributes(int from, int to) {
  std::string names(XATTR_LIST_MAX, '\0');
  const auto length = ::flistxattr(from, names.data(), names.size());
  std::string value(XATTR_SIZE_MAX, '\0');
  for (std::size_t at = 0; length > 0 && at < static_cast<std::size_t>(length);) {
    const std::string name(names.c_str() + at);
    at += name.size() + 1;
    const auto size = ::fgetxattr(from, name.c_str(), value.data(), value.size());
    if (size >= 0) static_cast<void>(::fsetxattr(to, name.c_str(), value.data(), static_cast<std::size_t>(size), 0));
  }
}

Result<void> look_like(int fd, int model) {
  struct stat status{};
  if (::fstat(model, &status) != 0) return fail_errno("stat");
  if (::fchown(fd, status.st_uid, status.st_gid) != 0) return fail_errno("chown");
  if (::fchmod(fd, status.st_mode & ALLPERMS) != 0) return fail_errno("chmod");
  copy_attributes(model, fd);
  return {};
}

// Where a link of the folder leads to, as folder and name.
std::optional<std::pair<std::string, std::string>> target_of(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free);
  if (!resolved) return std::nullopt;
  const std::string target(resolved.get());
  const auto slash = target.rfind('/');
  return std::pair(target.substr(0, slash == 0 ? 1 : slash), target.substr(slash + 1));
}

}  // namespace

Result<NodeFolder> NodeFolder::open_unlocked(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("folder " + path);
  return NodeFolder(std::move(fd), path);
}

Result<NodeFolder> NodeFolder::open(const std::string& path) {
  auto folder = open_unlocked(path);
  if (!folder || ::flock(folder->fd_.get(), LOCK_EX | LOCK_NB) == 0) return folder;
  if (errno == EWOULDBLOCK) return fail("folder " + path + ": another process of Underpass changes it at this moment");
  return fail_errno("lock folder " + path);
}

Result<std::optional<NodeFolder::Text>> NodeFolder::read(const std::string& name) const {
  using Kind = k8s::ReadError::Kind;
  auto read = k8s::read_file(fd_.get(), name, kLongestFile);
  if (read) return Text{.text = std::move(read->text)};
  if (read.error().kind == Kind::kGone) return std::nullopt;
  if (read.error().kind == Kind::kWriting) return Text{.text = {}, .being_written = true};
  return fail(path_of(name) + ": " + read.error().cause);
}

Result<std::vector<std::string>> NodeFolder::names() const {
  const int own = ::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(own < 0 ? nullptr : ::fdopendir(own), ::closedir);
  if (!stream) return fail_errno("list " + path_);
  std::vector<std::string> names;
  for (const dirent* entry = nullptr; (entry = ::readdir(stream.get())) != nullptr;)
    if (entry->d_type != DT_DIR) names.emplace_back(entry->d_name);
  std::ranges::sort(names);
  return names;
}

bool NodeFolder::has(const std::string& name) const {
  return ::faccessat(fd_.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<void> NodeFolder::write_new(std::string_view text, int model, unsigned mode) const {
  if (auto gone = remove(kNew); !gone) return gone;
  const UniqueFd fd(::openat(fd_.get(), kNew.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno("create " + path_of(kNew));
  auto done = write_all(fd.get(), text);
  if (done && model >= 0) done = look_like(fd.get(), model);
  if (done && model < 0 && ::fchmod(fd.get(), mode) != 0) done = fail_errno("chmod");
  if (done && ::fsync(fd.get()) != 0) done = fail_errno("sync");
  if (!done) return fail_in(path_of(kNew), done.error());
  return {};
}

Result<bool> NodeFolder::replace(const std::string& name, std::string_view before, std::string_view text) const {
  struct stat status{};
  if (::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)) {
    const auto target = target_of(path_of(name));
    if (!target) return fail_errno("link " + path_of(name));
    const auto folder = open_unlocked(target->first);  // it may be this one
    return folder ? folder->replace(target->second, before, text) : std::unexpected(folder.error());
  }
  const UniqueFd model(::openat(fd_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!model) return fail_errno("open " + path_of(name));
  if (auto written = write_new(text, model.get(), 0); !written) return std::unexpected(written.error());

  // The two change places, so that what was replaced can still be looked at: if it is not what we have read, they
  // change back. File systems that cannot do so get the rename alone.
  if (::renameat2(fd_.get(), kNew.c_str(), fd_.get(), name.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) return fail_errno("rename to " + path_of(name));
    if (auto renamed = rename(kNew, name); !renamed) return std::unexpected(renamed.error());
    return true;
  }
  const auto replaced = read(kNew);
  const bool same = replaced && *replaced && !(*replaced)->being_written && (*replaced)->text == before;
  if (!same) ::renameat2(fd_.get(), kNew.c_str(), fd_.get(), name.c_str(), RENAME_EXCHANGE);
  if (auto removed = remove(kNew); !removed) return std::unexpected(removed.error());
  return same;
}

Result<void> NodeFolder::put(const std::string& name, std::string_view text, const std::string& model) const {
  const UniqueFd looks(::openat(fd_.get(), model.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!looks) return fail_errno("open " + path_of(model));
  if (auto written = write_new(text, looks.get(), 0); !written) return written;
  return rename(kNew, name);
}

Result<void> NodeFolder::put(const std::string& name, std::string_view text, unsigned mode) const {
  if (auto written = write_new(text, -1, mode); !written) return written;
  return rename(kNew, name);
}

Result<void> NodeFolder::rename(const std::string& from, const std::string& to) const {
  if (::renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) != 0)
    return fail_errno("rename " + path_of(from) + " to " + to);
  return sync();
}

Result<void> NodeFolder::remove(const std::string& name) const {
  if (::unlinkat(fd_.get(), name.c_str(), 0) == 0) return sync();
  if (errno == ENOENT) return {};
  return fail_errno("remove " + path_of(name));
}

Result<void> NodeFolder::sync() const {
  if (::fsync(fd_.get()) != 0) return fail_errno("sync folder " + path_);
  return {};
}

}  // namespace underpass::cni
