// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/upstream_pool.h"

#include <algorithm>
#include <utility>

#include "userspace_proxy/session/pool_members.h"

namespace underpass::session {

void UpstreamPool::find(const UpstreamKey& key, UpstreamUser& user) {
  const auto [place, fresh] = groups_.try_emplace(key);
  auto& group = place->second;
  if (fresh) group.key = key;
  auto& members = group.members;
  while (!members.empty() && members.front().can_send()) {
    auto& upstream = members.front();
    if (!upstream.was_left()) return start(user, upstream);
    members.splice(members.end(), members, upstream.place);
  }
  group.waiting.push_back(&user);
  if (lacks_dial(group)) dial(group);
}

// One connection of HTTP/2 takes everybody who waits.
bool UpstreamPool::lacks_dial(const UpstreamGroup& group) {
  const auto waiting = group.waiting.size();
  return group.dialling < (group.key.http2 ? std::min<std::size_t>(waiting, 1) : waiting);
}

void UpstreamPool::adopt(const UpstreamKey& key, std::unique_ptr<net::Transport> server) {
  const auto [place, fresh] = groups_.try_emplace(key);
  auto& group = place->second;
  if (fresh) group.key = key;
  auto& upstream = group.members.emplace_front(host_, group);
  upstream.place = group.members.begin();
  upstream.use(std::move(server));
}

void UpstreamPool::start(UpstreamUser& user, Upstream& upstream) {
  user.start_on(upstream);
  auto& members = upstream.group().members;
  if (!upstream.can_send() && !upstream.is_over()) members.splice(members.end(), members, upstream.place);
}

void UpstreamPool::dial(UpstreamGroup& group) {
  ++group.dialling;
  auto& upstream = group.members.emplace_back(host_, group);
  upstream.place = std::prev(group.members.end());
  upstream.start();
}

void UpstreamPool::forget(UpstreamUser& user) {
  for (auto& [key, group] : groups_) std::erase(group.waiting, &user);
}

void UpstreamPool::on_room(Upstream& upstream) {
  auto& group = upstream.group();
  put_first(upstream);
  while (!group.waiting.empty() && upstream.can_send()) {
    auto* user = group.waiting.front();
    group.waiting.pop_front();
    start(*user, upstream);
  }
}

// Each dial was made for somebody: the one that waited longest goes with it.
void UpstreamPool::on_dial_failed(Upstream& upstream, telemetry::RequestFlag flag, std::string_view details) {
  auto& group = upstream.group();
  auto failed = std::exchange(group.waiting, {});
  while (!group.key.http2 && failed.size() > 1 && group.waiting.size() < group.dialling) {
    group.waiting.push_front(failed.back());
    failed.pop_back();
  }
  for (auto* user : failed) user->no_server(flag, details);
}

void UpstreamPool::on_ended(Upstream& upstream, telemetry::RequestFlag flag, std::string_view details) {
  using telemetry::RequestFlag;
  auto& group = upstream.group();
  ended_.splice(ended_.end(), group.members, upstream.place);
  if (!upstream.was_asked() && lacks_dial(group)) {
    if (flag != RequestFlag::kNone) return on_dial_failed(upstream, flag, details);
    return on_dial_failed(upstream, RequestFlag::kUpstreamGone, "the server closed the connection");
  }
  while (lacks_dial(group)) dial(group);
}

void UpstreamPool::check_time(net::Clock::time_point now) {
  visit_members(groups_, [&](Upstream& upstream) { upstream.check_time(now); });
  drop_empty(groups_);  // it is called before a round
}

void UpstreamPool::forget_pod(NetnsCookie pod, bool reset) {
  visit_members(groups_, [&](Upstream& upstream) {
    if (upstream.pod() != pod) return;
    if (reset)
      upstream.end(telemetry::RequestFlag::kDrained, "the pod went");
    else
      upstream.leave();
  });
}

void UpstreamPool::renew() {
  visit_members(groups_, [](Upstream& upstream) { upstream.leave_if_outdated(); });
}

void UpstreamPool::leave_all() {
  visit_members(groups_, [](Upstream& upstream) { upstream.leave(); });
}

std::size_t UpstreamPool::size() const {
  std::size_t size = 0;
  for (const auto& [key, group] : groups_) size += group.members.size();
  return size;
}

}  // namespace underpass::session
