// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/tunnel_pool.h"

#include <string>
#include <utility>
#include <vector>

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
      if (tunnel.forget(user)) return;
  }
}

void TunnelPool::on_room(TunnelClient& tunnel) {
  auto& group = tunnel.group();
  if (&group.members.front() != &tunnel) group.members.splice(group.members.begin(), group.members, tunnel.place);
  start(group);
}

void TunnelPool::on_dial_failed(TunnelClient& tunnel, Flag flag, std::string_view details) {
  for (const auto& waiting : std::exchange(tunnel.group().waiting, {})) waiting.user->no_tunnel(flag, details);
}

void TunnelPool::on_ended(TunnelClient& tunnel) {
  auto& group = tunnel.group();
  ended_.splice(ended_.end(), group.members, tunnel.place);
}

template <typename Visit>
void TunnelPool::visit_all(Visit visit) {
  // Whoever loses one may look for another, in a group that is new.
  std::vector<TunnelClient*> all;
  for (auto& [key, group] : groups_)
    for (auto& tunnel : group.members) all.push_back(&tunnel);
  for (auto* tunnel : all) visit(*tunnel);
}

void TunnelPool::check_time(net::Clock::time_point now) {
  visit_all([&](TunnelClient& tunnel) { tunnel.check_time(now); });
  // Those that ended are gone by now: it is called before a round.
  std::erase_if(groups_,
                [](const auto& entry) { return entry.second.members.empty() && entry.second.waiting.empty(); });
}

void TunnelPool::forget_pod(NetnsCookie pod, bool reset) {
  visit_all([&](TunnelClient& tunnel) {
    if (tunnel.pod() != pod) return;
    if (reset)
      tunnel.end(Flag::kDrained, "the pod went");
    else
      tunnel.leave();
  });
}

void TunnelPool::renew() {
  visit_all([](TunnelClient& tunnel) { tunnel.leave_if_outdated(); });
}

}  // namespace underpass::session
