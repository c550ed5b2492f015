// SPDX-License-Identifier: Apache-2.0
#include "test/bench/transfer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
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

Reader::Reader(const UniqueFd& socket, Wait wait) : socket_(socket.get()) {
  if (wait == Wait::kInRecv) return;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event readable{.events = EPOLLIN, .data = {}};
  if (!epoll_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket_, &readable) < 0) test::throw_errno("epoll");
}

std::size_t Reader::some(std::span<std::byte> bytes) {
  for (;;) {
    epoll_event event;
    if (epoll_ && ::epoll_wait(epoll_.get(), &event, 1, -1) < 0) test::throw_errno("epoll_wait");
    const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), epoll_ ? MSG_DONTWAIT : 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (!epoll_ || errno != EAGAIN) test::throw_errno("recv");
  }
}

bool Reader::all(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t got = some(bytes);
    if (got == 0) return false;
    bytes = bytes.subspan(got);
  }
  return true;
}

}  // namespace underpass::bench
