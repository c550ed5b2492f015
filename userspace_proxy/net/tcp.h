// SPDX-License-Identifier: Apache-2.0
// Few small things that TCP sockets are asked and told, as the kernel wants them.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "underpass/abi.h"
#include "underpass/ip_address.h"

namespace underpass::net {

// An address as connect() takes it: sockaddr_in for IPv4, which up_addr holds v4-mapped.
struct SocketAddress {
  sockaddr_in6 storage{};
  socklen_t size = 0;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

inline bool is_v4(const up_addr& address) { return IpAddress(address).is_v4(); }

inline SocketAddress to_socket_address(const up_addr& address, __be16 port) {
  SocketAddress out;
  if (is_v4(address)) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = port;
    std::memcpy(&four.sin_addr, address.bytes + 12, sizeof(four.sin_addr));
    std::memcpy(&out.storage, &four, sizeof(four));
    out.size = sizeof(four);
    return out;
  }
  out.storage.sin6_family = AF_INET6;
  out.storage.sin6_port = port;
  std::memcpy(&out.storage.sin6_addr, address.bytes, sizeof(out.storage.sin6_addr));
  out.size = sizeof(out.storage);
  return out;
}

// close() will send RST and throw away what is not sent yet.
inline void reset_on_close(int fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

// close() will send what is not sent yet, and FIN. The agent makes its sockets so that they are reset otherwise: a
// worker that is killed must not look like a peer that was done.
inline void finish_on_close(int fd) {
  const linger in_order{.l_onoff = 0, .l_linger = 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &in_order, sizeof(in_order));
}

// The error that waits at the socket, which forgets it; 0: none.
inline int take_error(int fd) {
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace underpass::net
