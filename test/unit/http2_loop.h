// SPDX-License-Identifier: Apache-2.0
// HTTP/2 codecs on real sockets of 127.0.0.1, for peers that are programs: a server on a thread of its own, and a
// client that waits. As simple as it can be done: poll(), one buffer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test/support/eventually.h"
#include "underpass/unique_fd.h"
#include "userspace_proxy/http2/codecs.h"

namespace underpass::test {

// Bytes of `fd` to the codec and back, as far as both go now. False: it is over.
bool carry(int fd, http::Codec& codec);

// GET /N: N bytes of "x"; GET /slow/N: the same after 103; POST: what it sent, and a trailer with its length; HEAD;
// CONNECT and extended CONNECT: an echo.
class Http2Server {
 public:
  Http2Server();
  ~Http2Server();
  Http2Server(const Http2Server&) = delete;
  Http2Server& operator=(const Http2Server&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }

 private:
  void serve();

  UniqueFd listener_;
  UniqueFd stop_read_;
  UniqueFd stop_write_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

UniqueFd connect_on_loopback(std::uint16_t port);
// A port that was free a moment ago.
std::uint16_t free_port();

}  // namespace underpass::test
