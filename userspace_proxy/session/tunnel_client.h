// SPDX-License-Identifier: Apache-2.0
// A tunnel that this worker opened: from a pod of its, as that pod's identity, to a pod of another node, which must be
// who it is expected to be.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "underpass/abi.h"
#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/net/loop.h"
#include "userspace_proxy/session/dial_user.h"
#include "userspace_proxy/session/http_socket.h"
#include "userspace_proxy/session/tunnel.h"
#include "userspace_proxy/session/tunnel_stream.h"
#include "userspace_proxy/session/tunnel_user.h"
#include "userspace_proxy/tls/tls_transport.h"

namespace underpass::session {

// Connections may share a tunnel where all of this is the same.
struct TunnelKey {
  NetnsCookie pod = 0;    // whose address it comes from, and whose identity it shows
  up_addr server{};       // a pod of another node
  std::string server_id;  // whose certificate is expected

  bool operator==(const TunnelKey& other) const;
};

struct TunnelKeyHash {
  std::size_t operator()(const TunnelKey& key) const;
};

struct TunnelGroup;

class TunnelClient final : public Tunnel, public DialUser, private http::ClientEvents, private net::Watcher {
 public:
  TunnelClient(HttpHost& host, TunnelGroup& group);
  ~TunnelClient() override;
  TunnelClient(const TunnelClient&) = delete;
  TunnelClient& operator=(const TunnelClient&) = delete;

  void settle() override;
  void check_time(net::Clock::time_point now);
  // Nothing new: it goes with its last stream.
  void leave();
  // ... unless it was made with the certificate and the roots that are in force.
  void leave_if_outdated();
  void end(Flag flag, std::string_view details);

  // --- for the pool ---
  [[nodiscard]] bool can_take() const;
  // `tries`: tunnels on which it was tried before.
  void open(TunnelUser& user, unsigned tries);
  // True: it waited here.
  bool forget(TunnelUser& user);
  [[nodiscard]] TunnelGroup& group() { return group_; }
  [[nodiscard]] bool is_over() const { return stage_ == Stage::kEnded; }

  [[nodiscard]] http::Codec& codec() override { return *codec_; }
  void touch() override { host_.touch(*this); }
  void answer(http::StreamId, unsigned) override {}
  void forget(http::StreamId stream) override;

  [[nodiscard]] NetnsCookie pod() const override;
  [[nodiscard]] bool dials_v6() const override;
  void dial(UniqueFd socket) override;
  void no_dial(Flag flag, const char* details) override { end(flag, details); }

  std::list<TunnelClient>::iterator place;

 private:
  enum class Stage { kWaitsForDial, kConnecting, kOpen, kEnded };
  struct Opening {
    TunnelUser* user = nullptr;
    unsigned tries = 0;
  };

  void on_events(std::uint32_t events) override;
  void on_connect(std::uint32_t events);
  void on_response(http::StreamId stream, http::Response& response) override;
  void on_data(http::StreamId stream, std::string_view bytes) override;
  void on_end(http::StreamId stream, const http::Fields* trailers) override;
  void on_reset(http::StreamId stream, http::Fault why) override;
  void on_writable(http::StreamId stream) override;
  void on_failed(http::Fault why, std::string_view detail) override;
  void on_room() override;

  [[nodiscard]] std::string describe(int error) const;
  void fail(int error);

  HttpHost& host_;
  TunnelGroup& group_;
  HttpSocket socket_;
  tls::TlsTransport* tls_ = nullptr;  // the socket's
  tls::IdentityPtr shown_;            // by our side; null: it is not dialled yet
  std::unique_ptr<http::ClientCodec> codec_;
  std::map<http::StreamId, Opening> opening_;  // not answered yet
  std::map<http::StreamId, TunnelStream*> streams_;
  Stage stage_ = Stage::kWaitsForDial;
  net::Clock::time_point deadline_;    // to be established
  net::Clock::time_point idle_since_;  // while there is no stream
  net::Clock::time_point heard_;       // when something came last
  std::uint64_t heard_bytes_ = 0;
  bool was_asked_ = false;  // whether it is there, since then
  bool is_leaving_ = false;
};

}  // namespace underpass::session
