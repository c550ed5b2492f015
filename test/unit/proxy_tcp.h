// SPDX-License-Identifier: Apache-2.0
// TCP sockets on 127.0.0.1 for tests of the proxy: blocking, with a deadline on each wait.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

#include "test/support/eventually.h"
#include "test/support/temp_folder.h"
#include "underpass/ip_address.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// Where an IPv4 socket is.
struct Place4 {
  up_addr addr{};
  std::uint16_t port = 0;
};

inline void set_on(int fd, int level, int name) {
  const int one = 1;
  require(::setsockopt(fd, level, name, &one, sizeof(one)) == 0, "setsockopt");
}

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

inline Place4 place_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  require(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  return {.addr = IpAddress::parse("127.0.0.1")->to_abi(), .port = ntohs(address.sin_port)};
}

// `small_buffer`: of what is accepted, as few bytes as the kernel allows.
inline UniqueFd listen_on_loopback(bool small_buffer = false, int backlog = 4096) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (small_buffer ? 0 : SOCK_NONBLOCK), 0));
  set_on(fd.get(), IPPROTO_TCP, TCP_NODELAY);
  const int bytes = 4096;
  if (small_buffer) require(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) == 0, "SO_RCVBUF");
  const auto address = loopback(0);
  require(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "bind");
  require(::listen(fd.get(), backlog) == 0, "listen");
  return fd;
}

inline bool readable(int fd, milliseconds deadline) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, static_cast<int>(deadline.count())) > 0;
}

inline void give_deadline(int fd) {
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

inline UniqueFd connect_to(const Place4& place) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  give_deadline(fd.get());
  const auto address = loopback(place.port);
  require(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "connect");
  return fd;
}

inline UniqueFd accept_one(const UniqueFd& listener) {
  if (!readable(listener.get(), seconds(20))) throw std::runtime_error("nobody connects");
  UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  require(static_cast<bool>(fd), "accept");
  give_deadline(fd.get());
  return fd;
}

inline void send_text(const UniqueFd& fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    require(sent > 0, "send");
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}
inline void shut(const UniqueFd& fd) { require(::shutdown(fd.get(), SHUT_WR) == 0, "shutdown"); }

inline std::string receive_exactly(const UniqueFd& fd, std::size_t count) {
  std::string text(count, '\0');
  for (std::size_t have = 0; have < count;) {
    const ssize_t got = ::recv(fd.get(), text.data() + have, count - have, 0);
    require(got > 0, "recv");
    have += static_cast<std::size_t>(got);
  }
  return text;
}

// 0: the stream's end; else the error, ECONNRESET for RST. Bytes before it are thrown away.
inline int end_of(const UniqueFd& fd) {
  char chunk[4096];
  for (;;) {
    const ssize_t got = ::recv(fd.get(), chunk, sizeof(chunk), 0);
    if (got <= 0) return got == 0 ? 0 : errno;
  }
}

inline void reset(UniqueFd& fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  fd.reset();
}

}  // namespace underpass::test
