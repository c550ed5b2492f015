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
#include "userspace_proxy/session/dial_user.h"
#include "userspace_proxy/session/tunnel.h"
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
  bool give_up(const TunnelUser& user);
  [[nodiscard]] TunnelGroup& group() { return group_; }
  [[nodiscard]] bool is_over() const { return stage_ == Stage::kEnded; }

  [[nodiscard]] http::Codec& codec() override { return *codec_; }
  void answer(http::StreamId, unsigned) override {}

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
    // Of the tunnel, when it was asked for.
    std::uint64_t heard_bytes = 0;
    net::Clock::time_point since;
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

  TunnelGroup& group_;
  tls::IdentityPtr shown_;  // by our side; null: it is not dialled yet
  std::unique_ptr<http::ClientCodec> codec_;
  std::map<http::StreamId, Opening> opening_;  // not answered yet
  Stage stage_ = Stage::kWaitsForDial;
  net::Clock::time_point deadline_;  // to be established
  bool is_leaving_ = false;
};

}  // namespace underpass::session
