// SPDX-License-Identifier: Apache-2.0
#include "test/bench/transfer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::bench {

void set_nodelay(const UniqueFd& fd) { test::set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1); }

UniqueFd accept_one(const UniqueFd& listener) {
  UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) test::throw_errno("accept");
  return fd;
}

bool write_all(const UniqueFd& fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EPIPE && errno != ECONNRESET) test::throw_errno("send");
    if (sent < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

std::size_t read_some(const UniqueFd& fd, std::span<std::byte> bytes, Wait wait) {
  for (;;) {
    pollfd waiting{.fd = fd.get(), .events = POLLIN, .revents = 0};
    if (wait == Wait::kInPoll && ::poll(&waiting, 1, -1) < 0) test::throw_errno("poll");
    const ssize_t got = ::recv(fd.get(), bytes.data(), bytes.size(), wait == Wait::kInPoll ? MSG_DONTWAIT : 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (wait == Wait::kInRecv || errno != EAGAIN) test::throw_errno("recv");
  }
}

bool read_all(const UniqueFd& fd, std::span<std::byte> bytes, Wait wait) {
  while (!bytes.empty()) {
    const std::size_t got = read_some(fd, bytes, wait);
    if (got == 0) return false;
    bytes = bytes.subspan(got);
  }
  return true;
}

}  // namespace underpass::bench
