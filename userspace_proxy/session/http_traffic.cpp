// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/http_traffic.h"

#include <algorithm>
#include <utility>

namespace underpass::session {
namespace {

using net::Clock;

constexpr std::size_t kSpareExchanges = 64;

}  // namespace

HttpTraffic::HttpTraffic(net::Loop& loop, BufferPool& buffers, Peers& peers, HttpOwner& owner,
                         const std::atomic<bool>& memory_short, RoutesPtr routes, unsigned threads)
    : loop_(loop),
      buffers_(buffers),
      peers_(peers),
      owner_(owner),
      memory_short_(memory_short),
      routes_(std::move(routes)),
      threads_(threads) {}

// Exchanges look at what is declared after them.
HttpTraffic::~HttpTraffic() {
  for (auto* exchanges : {&used_, &spare_}) exchanges->clear();
  for (auto* connections : {&detecting_, &connections_, &ended_}) connections->clear();
}

void HttpTraffic::take_in(std::unique_ptr<net::Transport> client, NetnsCookie pod, std::uint64_t id, Record record,
                          PortProtocol protocol, std::unique_ptr<net::Transport> server) {
  auto& connection = detecting_.emplace_back(static_cast<HttpHost&>(*this), pod, id, std::move(record), protocol);
  connection.place = std::prev(detecting_.end());
  connection.start(std::move(client), std::move(server));
}

void HttpTraffic::take_in_tunnel(UniqueFd socket, NetnsCookie pod, const up_peer& peer) {
  auto& tunnel = servers_.emplace_back(static_cast<HttpHost&>(*this), pod, peer);
  tunnel.place = std::prev(servers_.end());
  tunnel.start(std::move(socket));
}

template <typename Visit>
void HttpTraffic::visit_all(Visit visit) {
  for (auto* list : {&detecting_, &connections_}) {
    for (auto next = list->begin(); next != list->end();) {
      auto& connection = *next++;
      visit(connection);
    }
  }
}

template <typename Visit>
void HttpTraffic::visit_servers(Visit visit) {
  for (auto next = servers_.begin(); next != servers_.end();) {
    auto& tunnel = *next++;
    visit(tunnel);
  }
}

void HttpTraffic::use(RoutesPtr routes) {
  const bool other_roots = routes->table().trust_bundle != routes_->table().trust_bundle;
  routes_ = std::move(routes);
  // What lives may end. A server's new certificate is nothing to its clients, which come anew with theirs.
  upstreams_.renew();
  tunnels_.renew();
  visit_servers([&](TunnelServer& tunnel) {
    if (other_roots || !routes_->find_certificate_of(tunnel.pod())) tunnel.leave();
  });
  visit_all([](HttpConnection& connection) { connection.recheck(); });
}

// --- rounds ---------------------------------------------------------------------------------------------------------

void HttpTraffic::touch(HttpEnd& end) {
  if (std::exchange(end.is_touched, true)) return;
  touched_.push_back(&end);
}

void HttpTraffic::wake_at(Timed& user, Clock::time_point time) {
  forget_time(user);
  user.due = times_.emplace(time, &user);
}

void HttpTraffic::forget_time(Timed& user) {
  if (const auto due = std::exchange(user.due, std::nullopt)) times_.erase(*due);
}

// What is done for one end may leave something to do for the other.
void HttpTraffic::end_round() {
  const auto detection = routes_->settings().http.detection_timeout;
  while (!detecting_.empty() && loop_.now() - detecting_.front().began >= detection) {
    auto& late = detecting_.front();
    late.check_time(loop_.now());
    // Of a port that is HTTP's: there is no hurry, and it is not asked about in each round.
    if (!detecting_.empty() && &detecting_.front() == &late) on_decided(late);
  }
  while (!times_.empty() && times_.begin()->first <= loop_.now()) {
    auto* due = times_.begin()->second;
    forget_time(*due);
    due->on_time();
  }
  while (!touched_.empty()) {
    auto* end = touched_.front();
    touched_.pop_front();
    end->is_touched = false;
    end->settle();
  }
  ended_.clear();
  upstreams_.free_ended();
  tunnels_.free_ended();
  ended_servers_.clear();
  for (auto& exchange : used_)
    if (spare_.size() < kSpareExchanges) spare_.push_back(std::move(exchange));
  used_.clear();
}

Clock::time_point HttpTraffic::next_deadline() const {
  auto next = times_.empty() ? Clock::time_point::max() : times_.begin()->first;
  if (!detecting_.empty()) next = std::min(next, detecting_.front().began + routes_->settings().http.detection_timeout);
  return next;
}

void HttpTraffic::sweep() {
  const auto now = loop_.now();
  visit_all([&](HttpConnection& connection) { connection.check_time(now); });
  upstreams_.check_time(now);
  tunnels_.check_time(now);
  visit_servers([&](TunnelServer& tunnel) { tunnel.check_time(now); });
}

// --- requests -------------------------------------------------------------------------------------------------------

bool HttpTraffic::admit_request() {
  if (memory_short_.load(std::memory_order_relaxed)) return false;
  if (requests_ >= std::max(1U, routes_->settings().http.max_requests_per_worker / threads_)) return false;
  ++requests_;
  return true;
}

std::unique_ptr<Exchange> HttpTraffic::make_exchange() {
  if (spare_.empty()) return std::make_unique<Exchange>(static_cast<HttpHost&>(*this));
  auto exchange = std::move(spare_.back());
  spare_.pop_back();
  return exchange;
}

// --- connections ----------------------------------------------------------------------------------------------------

HttpTraffic::Connections& HttpTraffic::list_of(const HttpConnection& connection) {
  return connection.is_listed_as_detecting ? detecting_ : connections_;
}

void HttpTraffic::on_decided(HttpConnection& connection) {
  if (!std::exchange(connection.is_listed_as_detecting, false)) return;
  connections_.splice(connections_.end(), detecting_, connection.place);
}

void HttpTraffic::on_not_http(HttpConnection& connection, std::unique_ptr<net::Transport> client) {
  owner_.on_not_http(connection, std::move(client));
  ended_.splice(ended_.end(), list_of(connection), connection.place);
}

void HttpTraffic::on_ended(HttpConnection& connection) {
  owner_.on_connection_ended(connection);
  ended_.splice(ended_.end(), list_of(connection), connection.place);
}

void HttpTraffic::forget(NetnsCookie pod, bool reset, Clock::time_point until) {
  visit_all([&](HttpConnection& connection) {
    if (connection.pod() != pod) return;
    if (reset) return connection.end(Flag::kDrained, "the pod went");
    connection.must_end_by = std::min(connection.must_end_by, until);
    connection.drain();
  });
  upstreams_.forget_pod(pod, reset);
  tunnels_.forget_pod(pod, reset);
  visit_servers([&](TunnelServer& tunnel) {
    if (tunnel.pod() != pod) return;
    if (reset) return tunnel.end("the pod went");
    tunnel.must_end_by = std::min(tunnel.must_end_by, until);
    tunnel.leave();
  });
}

void HttpTraffic::drain(Clock::time_point until) {
  is_draining_ = true;
  visit_all([&](HttpConnection& connection) {
    connection.must_end_by = std::min(connection.must_end_by, until);
    connection.drain();
  });
  upstreams_.leave_all();
  visit_servers([&](TunnelServer& tunnel) {
    tunnel.must_end_by = std::min(tunnel.must_end_by, until);
    tunnel.leave();
  });
}

}  // namespace underpass::session
