// SPDX-License-Identifier: Apache-2.0
// A connection between two workers that carries others in its streams: HBONE, which is HTTP/2 CONNECT over mutual TLS.
#pragma once

#include <chrono>
#include <cstddef>

#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/session/http_host.h"

namespace underpass::session {

// What a stream has of the connection that carries it.
class Tunnel : public HttpEnd {
 public:
  [[nodiscard]] virtual http::Codec& codec() = 0;
  // Bytes of it are to be moved.
  virtual void touch() = 0;
  // Of a stream that the peer opened and that was not answered: 200, or why not.
  virtual void answer(http::StreamId stream, unsigned status) = 0;
  // Nobody has it any more.
  virtual void forget(http::StreamId stream) = 0;
};

// As ztunnel has them.
inline http::Limits tunnel_limits() {
  return {.max_head_bytes = 16UL * 1024,
          .max_streams = 128,
          .stream_window = 4U << 20,
          .connection_window = 16U << 20,
          .max_buffered = 256UL * 1024,
          .underscores = Underscores::kAllow,
          .share_window = true};
}

// A tunnel without a stream is closed after this, by whoever notices first.
inline constexpr auto kTunnelIdle = std::chrono::minutes(5);
// A tunnel from which nothing came for so long is asked whether somebody is there, and given up after twice that.
inline constexpr auto kTunnelQuiet = std::chrono::seconds(15);

}  // namespace underpass::session
