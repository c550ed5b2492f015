// SPDX-License-Identifier: Apache-2.0
// The HTTP of one traffic thread: connections of clients and to servers, and what is to be done for them before a round
// ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "userspace_proxy/session/exchange.h"
#include "userspace_proxy/session/http_connection.h"
#include "userspace_proxy/session/http_host.h"
#include "userspace_proxy/session/tunnel_pool.h"
#include "userspace_proxy/session/tunnel_server.h"
#include "userspace_proxy/session/upstream_pool.h"

namespace underpass::session {

// What it needs of its thread, and tells it.
class HttpOwner {
 public:
  virtual void find_dial(DialUser& user) = 0;
  virtual void forget_dial(DialUser& user) = 0;
  // A connection that speaks something else, with its client, not watched any more.
  virtual void on_not_http(HttpConnection& connection, std::unique_ptr<net::Transport> client) = 0;
  // One that came through the tunnel `id`.
  virtual void on_tunnelled(std::unique_ptr<net::Transport> stream, NetnsCookie pod, std::uint64_t id,
                            Record record) = 0;
  virtual void on_request_ended(const telemetry::RequestRecord& record) = 0;
  virtual void on_connection_ended(const HttpConnection& connection) = 0;

 protected:
  ~HttpOwner() = default;
};

class HttpTraffic final : private HttpHost {
 public:
  // No new requests while `memory_short` is set. `threads`: that share what requests there may be.
  HttpTraffic(net::Loop& loop, BufferPool& buffers, Peers& peers, HttpOwner& owner,
              const std::atomic<bool>& memory_short, RoutesPtr routes, unsigned threads);
  ~HttpTraffic();

  // Requests that it does not allow any more are cut.
  void use(RoutesPtr routes);
  // `server`: one that is connected already; or null.
  void take_in(std::unique_ptr<net::Transport> client, NetnsCookie pod, std::uint64_t id, Record record,
               PortProtocol protocol, std::unique_ptr<net::Transport> server = nullptr);
  // Another node's worker came to this pod.
  void take_in_tunnel(UniqueFd socket, NetnsCookie pod, const up_peer& peer);
  // Those to other nodes.
  TunnelPool& tunnels() override { return tunnels_; }

  // Before each wait, and after each round.
  [[nodiscard]] net::Clock::time_point next_deadline() const;
  void end_round();
  // Once a second.
  void sweep();

  // A pod that goes: at once, or by then.
  void forget(NetnsCookie pod, bool reset, net::Clock::time_point until);
  void drain(net::Clock::time_point until);
  [[nodiscard]] bool is_empty() const { return connections_.empty() && detecting_.empty() && servers_.empty(); }
  [[nodiscard]] std::size_t upstreams_open() const { return upstreams_.size(); }

 private:
  net::Loop& loop() override { return loop_; }
  BufferPool& buffers() override { return buffers_; }
  Peers& peers() override { return peers_; }
  UpstreamPool& upstreams() override { return upstreams_; }
  [[nodiscard]] const RoutesPtr& routes() const override { return routes_; }
  [[nodiscard]] bool is_draining() const override { return is_draining_; }
  void find_dial(DialUser& user) override { owner_.find_dial(user); }
  void forget_dial(DialUser& user) override { owner_.forget_dial(user); }
  void touch(HttpEnd& end) override;
  void wake_at(Timed& user, net::Clock::time_point time) override;
  void forget_time(Timed& user) override;
  bool admit_request() override;
  void on_request_ended(const telemetry::RequestRecord& record) override { owner_.on_request_ended(record); }
  void forget_request() override { --requests_; }
  telemetry::Dice& dice() override { return dice_; }
  std::unique_ptr<Exchange> make_exchange() override;
  void give_back(std::unique_ptr<Exchange> exchange) override { used_.push_back(std::move(exchange)); }
  void on_decided(HttpConnection& connection) override;
  void on_not_http(HttpConnection& connection, std::unique_ptr<net::Transport> client) override;
  void on_ended(HttpConnection& connection) override;
  void on_ended(TunnelClient& tunnel) override { tunnels_.on_ended(tunnel); }
  void on_ended(TunnelServer& tunnel) override { ended_servers_.splice(ended_servers_.end(), servers_, tunnel.place); }
  void on_tunnelled(std::unique_ptr<net::Transport> stream, NetnsCookie pod, std::uint64_t id, Record record) override {
    owner_.on_tunnelled(std::move(stream), pod, id, std::move(record));
  }

  using Connections = std::list<HttpConnection>;
  Connections& list_of(const HttpConnection& connection);
  template <typename Visit>
  void visit_all(Visit visit);
  template <typename Visit>
  void visit_servers(Visit visit);

  net::Loop& loop_;
  BufferPool& buffers_;
  Peers& peers_;
  HttpOwner& owner_;
  const std::atomic<bool>& memory_short_;
  RoutesPtr routes_;
  const unsigned threads_;
  UpstreamPool upstreams_{*this};
  TunnelPool tunnels_{*this};
  std::list<TunnelServer> servers_;
  std::list<TunnelServer> ended_servers_;  // of this round
  Connections detecting_;                  // in the order in which they came
  Connections connections_;
  Connections ended_;  // of this round
  std::deque<HttpEnd*> touched_;
  Times times_;
  std::vector<std::unique_ptr<Exchange>> used_;  // of this round
  std::vector<std::unique_ptr<Exchange>> spare_;
  telemetry::Dice dice_;
  std::size_t requests_ = 0;
  bool is_draining_ = false;
};

}  // namespace underpass::session
