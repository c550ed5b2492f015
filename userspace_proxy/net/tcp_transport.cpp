// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/net/tcp_transport.h"

#include <sys/socket.h>

#include "userspace_proxy/net/tcp.h"

namespace underpass::net {

ssize_t TcpTransport::receive(char* to, std::size_t most) { return ::recv(fd_.get(), to, most, 0); }

ssize_t TcpTransport::peek(char* to, std::size_t most) { return ::recv(fd_.get(), to, most, MSG_PEEK); }

ssize_t TcpTransport::send(const char* bytes, std::size_t size) { return ::send(fd_.get(), bytes, size, MSG_NOSIGNAL); }

int TcpTransport::shut_write() { return ::shutdown(fd_.get(), SHUT_WR); }

int TcpTransport::take_error() { return net::take_error(fd_.get()); }

void TcpTransport::close(bool in_order) {
  if (!fd_) return;
  if (in_order)
    finish_on_close(fd_.get());
  else
    reset_on_close(fd_.get());
  fd_.reset();
}

}  // namespace underpass::net
