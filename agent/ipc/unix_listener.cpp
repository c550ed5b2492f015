// SPDX-License-Identifier: Apache-2.0
#include "agent/ipc/unix_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "agent/ipc/listeners.h"
#include "underpass/unix_address.h"

namespace underpass::ipc {
namespace {

constexpr int kBacklog = 128;

int kind_of(SocketType type) { return type == SocketType::kStream ? SOCK_STREAM : SOCK_SEQPACKET; }

UniqueFd make_socket(SocketType type) {
  return UniqueFd(::socket(AF_UNIX, kind_of(type) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// An error where somebody listens at `path`, or where what is there is no socket.
Result<void> respect_living(const std::string& path, const sockaddr_un& address, SocketType type) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno("stat " + path);
  }
  if (!S_ISSOCK(found.st_mode))
    return fail(path + ": exists and is not a socket: move it away, or choose another --run-dir");

  const auto probe = make_socket(type);
  if (!probe) return fail_errno("make a unix socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN) {
    return fail(path + ": another agent answers there: stop it first, or choose another --run-dir");
  }
  if (errno != ECONNREFUSED && errno != ENOENT) return fail_errno("ask who listens on " + path);
  return {};
}

bool listens_at(int fd, const sockaddr_un& address, SocketType type) {
  sockaddr_un own{};
  socklen_t length = sizeof(own);
  return socket_option(fd, SO_ACCEPTCONN) == 1 && socket_option(fd, SO_TYPE) == kind_of(type) &&
         ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0 && own.sun_family == AF_UNIX &&
         std::string_view(own.sun_path) == address.sun_path;
}

}  // namespace

Result<UnixListener> UnixListener::bind(const std::string& path, SocketType type, UniqueFd handed) {
  const Result<sockaddr_un> address = to_unix_address(path);
  if (!address) return std::unexpected(address.error());

  struct stat found{};
  if (handed && listens_at(handed.get(), *address, type) && ::lstat(path.c_str(), &found) == 0)
    return UnixListener(std::move(handed), path, found.st_dev, found.st_ino);
  handed.reset();  // or the path would look taken

  const std::string folder = std::filesystem::path(path).parent_path().string();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail("make folder " + folder + ": " + error.message());

  // Two agents that start at once would each find the other's socket stale: one at a time may look and bind.
  const UniqueFd lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return fail_errno("open folder " + folder);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail(folder + ": another agent is starting there");
    return fail_errno("lock folder " + folder);
  }
  if (const auto free = respect_living(path, *address, type); !free) return std::unexpected(free.error());

  auto fd = make_socket(type);
  if (!fd) return fail_errno("make a unix socket");
  // bind() gives the file the mode of the socket's own inode (Linux): there is no moment at which it is wider.
  if (::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0) return fail_errno("set the mode of " + path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("remove " + path);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0)
    return fail_errno("bind " + path);
  struct stat made{};
  if (::lstat(path.c_str(), &made) != 0) return fail_errno("stat " + path);
  if (::listen(fd.get(), kBacklog) != 0) return fail_errno("listen on " + path);
  return UnixListener(std::move(fd), path, made.st_dev, made.st_ino);
}

bool UnixListener::owns_path() const {
  struct stat found{};
  return ::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_;
}

void UnixListener::remove_path() const {
  if (owns_path()) ::unlink(path_.c_str());
}

bool UnixListener::give_path_away() {
  const bool owned = owns_path();
  path_.clear();
  return owned;
}

}  // namespace underpass::ipc
