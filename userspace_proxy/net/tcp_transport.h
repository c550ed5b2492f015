// SPDX-License-Identifier: Apache-2.0
// A connected TCP socket as a Transport.
#pragma once

#include <memory>

#include "underpass/unique_fd.h"
#include "userspace_proxy/net/transport.h"

namespace underpass::net {

class TcpTransport final : public Transport {
 public:
  TcpTransport(Loop& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {}

  bool watch(std::uint32_t events, Watcher& watcher) override { return loop_.watch(fd_.get(), events, watcher); }
  bool rewatch(std::uint32_t events, Watcher& watcher) override { return loop_.rewatch(fd_.get(), events, watcher); }
  void unwatch() override { loop_.unwatch(fd_.get()); }
  ssize_t receive(char* to, std::size_t most) override;
  ssize_t peek(char* to, std::size_t most) override;
  ssize_t send(const char* bytes, std::size_t size) override;
  int shut_write() override;
  int take_error() override;
  void close(bool in_order) override;

 private:
  Loop& loop_;
  UniqueFd fd_;
};

inline std::unique_ptr<Transport> make_tcp(Loop& loop, UniqueFd fd) {
  return std::make_unique<TcpTransport>(loop, std::move(fd));
}

}  // namespace underpass::net
