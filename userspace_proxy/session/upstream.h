// SPDX-License-Identifier: Apache-2.0
// A connection to a server that HTTP requests are sent over, one after the other or many at once, as its codec can.
// Lives on between requests.
#pragma once

#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "underpass/abi.h"
#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/session/dial_user.h"
#include "userspace_proxy/session/http_host.h"
#include "userspace_proxy/session/http_socket.h"
#include "userspace_proxy/session/record.h"
#include "userspace_proxy/session/tunnel_user.h"
#include "userspace_proxy/session/upstream_user.h"

namespace underpass::session {

// Requests may share a connection where all of this is the same: the server's application sees one client address for a
// connection, and it must be that of the pod that asks.
struct UpstreamKey {
  NetnsCookie pod = 0;  // in whose network namespace it is dialled
  up_addr server{};
  __be16 port = 0;
  bool http2 = false;
  up_tunnel tunnel = UP_TUNNEL_NONE;
  bool errand = false;  // to an authorization service: for no connection, but by leave of the agent's
  up_addr client{};
  NetnsCookie client_netns = 0;  // addresses are used again by other pods

  bool operator==(const UpstreamKey& other) const;
};

struct UpstreamKeyHash {
  std::size_t operator()(const UpstreamKey& key) const;
};

struct UpstreamGroup;

class Upstream final : public HttpEnd,
                       public DialUser,
                       public TunnelUser,
                       private http::ClientEvents,
                       private net::Watcher {
 public:
  Upstream(HttpHost& host, UpstreamGroup& group);
  ~Upstream() override;
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;

  void settle() override;
  void check_time(net::Clock::time_point now);
  // Goes when nobody has asked for anything for longer than clients that are to go are waited for.
  void leave() { is_leaving_ = true; }
  // Takes nothing new, if it goes through a tunnel that was made with another certificate, or other roots, than those
  // in force.
  void leave_if_outdated();
  // With everything that is under way.
  void end(telemetry::RequestFlag flag, std::string_view details);

  // --- for exchanges ---
  [[nodiscard]] http::ClientCodec& codec() { return *codec_; }
  [[nodiscard]] bool can_send() const;
  // Looks whether the server of HTTP/1 has gone since the loop looked last: a request may be read, and its turn come,
  // before the loop tells of an end that was there first. If so, it can_send() no more.
  [[nodiscard]] bool was_left();
  // 0: that request cannot be sent.
  http::StreamId send(UpstreamUser& user, const http::Request& request);
  void forget(http::StreamId stream);
  // Gives it up in the middle: of HTTP/1 that is the connection, by RST.
  void abandon(http::StreamId stream, http::Fault why);

  [[nodiscard]] NetnsCookie pod() const override;
  [[nodiscard]] bool dials_v6() const override;
  void dial(UniqueFd socket) override;
  void no_dial(Flag flag, const char* details) override;
  void on_tunnel(std::unique_ptr<net::Transport> stream) override;
  void no_tunnel(Flag flag, std::string_view details) override;
  [[nodiscard]] const Record& tunnelled() const override { return for_; }
  [[nodiscard]] std::uint64_t carried() const override { return carried_; }
  // Looks for a way to the server.
  void start();
  // It is connected already.
  void use(std::unique_ptr<net::Transport> server);

  [[nodiscard]] UpstreamGroup& group() { return group_; }
  [[nodiscard]] bool is_over() const { return stage_ == Stage::kEnded; }
  // Had a request, ever.
  [[nodiscard]] bool was_asked() const { return was_asked_; }

  std::list<Upstream>::iterator place;

 private:
  enum class Stage { kWaitsForDial, kConnecting, kOpen, kEnded };

  void on_events(std::uint32_t events) override;
  void on_connect(std::uint32_t events);
  void open();
  void on_response(http::StreamId stream, http::Response& response) override;
  void on_data(http::StreamId stream, std::string_view bytes) override;
  void on_end(http::StreamId stream, const http::Fields* trailers) override;
  void on_reset(http::StreamId stream, http::Fault why) override;
  void on_writable(http::StreamId stream) override;
  void on_failed(http::Fault why, std::string_view detail) override;
  void on_room() override;

  [[nodiscard]] UpstreamUser* find(http::StreamId stream);
  [[nodiscard]] Reached reached(http::StreamId stream) const;
  void fail(int error);

  HttpHost& host_;
  UpstreamGroup& group_;
  HttpSocket socket_;
  RoutesPtr limits_by_;  // whose limits the codec has
  std::unique_ptr<http::ClientCodec> codec_;
  std::vector<std::pair<http::StreamId, UpstreamUser*>> streams_;  // by number
  Record for_;                                                     // of a tunnel
  tls::IdentityPtr shown_;                                         // ... by our side
  bool is_outdated_ = false;                                       // ... and that is another by now
  std::uint64_t carried_ = 0;
  Stage stage_ = Stage::kWaitsForDial;
  net::Clock::time_point deadline_;    // to be connected
  net::Clock::time_point idle_since_;  // while streams_ is empty
  std::uint64_t bytes_before_ = 0;     // that the socket had taken before the last request
  bool was_asked_ = false;
  bool is_leaving_ = false;
  bool is_cut_ = false;  // in the middle of something
};

}  // namespace underpass::session
