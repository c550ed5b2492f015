// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/read_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "underpass/unique_fd.h"

namespace underpass::k8s {
namespace {

// Not in <linux/magic.h>: fs/cifs/cifsglob.h of the kernel.
constexpr long kCifsMagic = 0xff534d42;

std::unexpected<ReadError> failed(std::string cause) {
  return std::unexpected(ReadError{ReadError::Kind::kFailed, std::move(cause)});
}

std::unexpected<ReadError> failed_errno(int error = errno) { return failed(std::strerror(error)); }

std::unexpected<ReadError> being_written() {
  return std::unexpected(
      ReadError{ReadError::Kind::kWriting, "open for writing: it is read when the writer has closed it"});
}

// Whether the name itself is still there: a link to nothing is a mistake to report, a file just deleted is not.
std::unexpected<ReadError> failed_open(int dir_fd, const std::string& name, int error) {
  struct stat link{};
  if (error == ENOENT && ::fstatat(dir_fd, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
    return std::unexpected(ReadError{ReadError::Kind::kGone, std::strerror(ENOENT)});
  }
  return failed_errno(error);
}

// A read lease is granted exactly while nobody has the file open for writing (fcntl(2), F_SETLEASE), so asking for one
// answers the question; it is given back at once. Where leases are not to be had (another user's file without
// CAP_LEASE, a file system without them) the answer is no, and so it is on network file systems, which may refuse for
// reasons of their own. A writer that opens the file in between is announced by a signal: SIGURG, which is ignored by
// default, and not SIGIO, which kills.
bool has_writer(int fd) {
  struct statfs filesystem{};
  if (::fstatfs(fd, &filesystem) < 0 || filesystem.f_type == NFS_SUPER_MAGIC || filesystem.f_type == kCifsMagic ||
      filesystem.f_type == SMB2_SUPER_MAGIC) {
    return false;
  }
  if (::fcntl(fd, F_SETSIG, SIGURG) < 0) return false;
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) < 0) return errno == EAGAIN;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

std::expected<std::string, ReadError> read_all(int fd, std::size_t expected_size, std::size_t max_bytes) {
  std::string text;
  text.resize(expected_size + 1);  // one more, so that the last read says that there is no more
  std::size_t length = 0;
  for (;;) {
    if (length == text.size()) text.resize(text.size() * 2);
    const auto count = ::read(fd, text.data() + length, text.size() - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed_errno();
    if (count == 0) break;
    length += static_cast<std::size_t>(count);
    if (length > max_bytes) return failed("larger than " + std::to_string(max_bytes) + " bytes");
  }
  text.resize(length);
  return text;
}

}  // namespace

FileStamp make_stamp(const struct stat& status) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = status.st_size,
          .modified_ns = status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec,
          .changed_ns = status.st_ctim.tv_sec * kSecond + status.st_ctim.tv_nsec};
}

std::expected<FileText, ReadError> read_file(int dir_fd, const std::string& name, std::size_t max_bytes) {
  // Asked before it is opened: opening a FIFO or a device for reading is already an act that others notice.
  struct stat before{};
  if (::fstatat(dir_fd, name.c_str(), &before, 0) < 0) return failed_open(dir_fd, name, errno);
  if (!S_ISREG(before.st_mode)) return failed("not a regular file");

  const UniqueFd fd(::openat(dir_fd, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) return failed_open(dir_fd, name, errno);
  if (::fstat(fd.get(), &before) < 0) return failed_errno();
  if (!S_ISREG(before.st_mode)) return failed("not a regular file");
  const auto stamp = make_stamp(before);
  if (static_cast<std::size_t>(before.st_size) > max_bytes) {
    return failed("larger than " + std::to_string(max_bytes) + " bytes");
  }

  if (has_writer(fd.get())) return being_written();
  auto text = read_all(fd.get(), static_cast<std::size_t>(before.st_size), max_bytes);
  if (!text) return std::unexpected(std::move(text.error()));
  // A writer that came while we read leaves one of two traces: it is still there, or the file is another one now.
  struct stat after{};
  if (::fstat(fd.get(), &after) < 0) return failed_errno();
  if (make_stamp(after) != stamp || has_writer(fd.get())) return being_written();
  return FileText{std::move(*text), stamp};
}

}  // namespace underpass::k8s
