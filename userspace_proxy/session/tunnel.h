// SPDX-License-Identifier: Apache-2.0
// A connection between two workers that carries others in its streams: HBONE, which is HTTP/2 CONNECT over mutual TLS.
// What both of its ends have in common.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>

#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/session/http_host.h"
#include "userspace_proxy/session/http_socket.h"
#include "userspace_proxy/tls/tls_transport.h"

namespace underpass::session {

class TunnelStream;

// As ztunnel has them.
inline constexpr http::Limits kTunnelLimits{.max_head_bytes = 16UL * 1024,
                                            .max_streams = 128,
                                            .stream_window = 4U << 20,
                                            .connection_window = 16U << 20,
                                            .max_buffered = 256UL * 1024,
                                            .underscores = Underscores::kAllow,
                                            .share_window = true};
// A tunnel without a stream is closed after this by who opened it, and after twice that by the other end.
inline constexpr auto kTunnelIdle = std::chrono::minutes(5);
// A tunnel from which nothing came for so long is asked whether somebody is there, and given up after twice that.
inline constexpr auto kTunnelQuiet = std::chrono::seconds(15);

class Tunnel : public HttpEnd {
 public:
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;
  ~Tunnel() override;

  // --- for its streams ---
  [[nodiscard]] virtual http::Codec& codec() = 0;
  // Bytes of it are to be moved.
  void touch() { host_.touch(*this); }
  // Of a stream that the peer opened and that was not answered: 200, or why not.
  virtual void answer(http::StreamId stream, unsigned status) = 0;
  // Nobody has it any more.
  void forget(http::StreamId stream);

 protected:
  explicit Tunnel(HttpHost& host);

  // `is_answered`: see TunnelStream.
  std::unique_ptr<TunnelStream> make_stream(http::StreamId id, bool is_answered);
  [[nodiscard]] bool has_streams() const { return !streams_.empty(); }
  // What the codec tells of them. False: it is no stream of these.
  void hand_on(http::StreamId id, std::string_view bytes);
  void hand_on_end(http::StreamId id);
  void hand_on_room(http::StreamId id);
  bool lose(http::StreamId id);
  void lose_all();

  bool attach(std::unique_ptr<tls::TlsTransport> tls, net::Watcher& watcher);
  // False: it was asked for long enough whether it is there.
  bool check_peer(net::Clock::time_point now);

  HttpHost& host_;
  HttpSocket socket_;
  tls::TlsTransport* tls_ = nullptr;   // the socket's; null: there is none
  net::Clock::time_point idle_since_;  // while there is no stream

 private:
  std::map<http::StreamId, TunnelStream*> streams_;
  net::Clock::time_point heard_;  // when something came last
  std::uint64_t heard_bytes_ = 0;
  bool was_asked_ = false;  // since then
};

}  // namespace underpass::session
