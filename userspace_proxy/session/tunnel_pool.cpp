// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/tunnel_pool.h"

#include <string>
#include <utility>

#include "userspace_proxy/session/pool_members.h"

namespace underpass::session {
namespace {

TunnelKey key_of(const Record& record) {
  return {.pod = record.client_netns,
          .server = record.server,
          .server_id = std::string(record.name(Record::kDestinationIdentity))};
}

}  // namespace

void TunnelPool::open(TunnelUser& user, unsigned tries) {
  auto key = key_of(user.tunnelled());
  if (key.server_id.empty()) return user.no_tunnel(Flag::kConnectFailed, "tunnel: nobody knows whom to expect there");
  const auto [place, fresh] = groups_.try_emplace(key);
  auto& group = place->second;
  if (fresh) group.key = std::move(key);
  group.waiting.push_back({.user = &user, .tries = tries});
  start(group);
}

void TunnelPool::start(TunnelGroup& group) {
  while (!group.waiting.empty() && !group.members.empty() && group.members.front().can_take()) {
    const auto next = group.waiting.front();
    group.waiting.pop_front();
    auto& tunnel = group.members.front();
    tunnel.open(*next.user, next.tries);
    if (!tunnel.can_take() && !tunnel.is_over()) group.members.splice(group.members.end(), group.members, tunnel.place);
  }
  if (!group.waiting.empty() && group.dialling == 0) dial(group);
}

void TunnelPool::dial(TunnelGroup& group) {
  ++group.dialling;
  auto& tunnel = group.members.emplace_back(host_, group);
  tunnel.place = std::prev(group.members.end());
  host_.find_dial(tunnel);
}

void TunnelPool::forget(TunnelUser& user) {
  for (auto& [key, group] : groups_) {
    std::erase_if(group.waiting, [&](const auto& waiting) { return waiting.user == &user; });
    for (auto& tunnel : group.members)
      if (tunnel.give_up(user)) return;
  }
}

void TunnelPool::on_room(TunnelClient& tunnel) {
  put_first(tunnel);
  start(tunnel.group());
}

void TunnelPool::on_dial_failed(TunnelClient& tunnel, Flag flag, std::string_view details) {
  for (const auto& waiting : std::exchange(tunnel.group().waiting, {})) waiting.user->no_tunnel(flag, details);
}

void TunnelPool::on_ended(TunnelClient& tunnel) {
  auto& group = tunnel.group();
  ended_.splice(ended_.end(), group.members, tunnel.place);
}

void TunnelPool::check_time(net::Clock::time_point now) {
  visit_members(groups_, [&](TunnelClient& tunnel) { tunnel.check_time(now); });
  drop_empty(groups_);  // it is called before a round
}

void TunnelPool::forget_pod(NetnsCookie pod, bool reset) {
  visit_members(groups_, [&](TunnelClient& tunnel) {
    if (tunnel.pod() != pod) return;
    if (reset)
      tunnel.end(Flag::kDrained, "the pod went");
    else
      tunnel.leave();
  });
}

void TunnelPool::renew() {
  visit_members(groups_, [](TunnelClient& tunnel) { tunnel.leave_if_outdated(); });
}

}  // namespace underpass::session
