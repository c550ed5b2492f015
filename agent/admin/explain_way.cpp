// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/explain_way.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace underpass::admin {
namespace {

using compile::Backend;
using compile::PodStatus;

// "Pod shop/web: underpass.dev/capture: always on Namespace", "Pod shop/web: AuthorizationPolicy shop/get"
std::string who_captures(const PodStatus& pod) {
  if (pod.inbound_only) return "Pod " + pod.id.to_string() + ": " + pod.capture_reason;
  constexpr std::string_view kPlace = "annotation ";
  std::string_view origin = pod.capture_reason;
  if (origin.starts_with(kPlace)) origin.remove_prefix(kPlace.size());
  return "Pod " + pod.id.to_string() + ": underpass.dev/capture: always " + std::string(origin);
}

const PodStatus* find_enrolled(const PodIndex& pods, const IpAddress& ip) {
  const PodStatus* pod = pods.find(ip);
  return pod != nullptr && pod->enrolled ? pod : nullptr;
}

// Of the server's side alone, whoever dials: it asks for a worker.
bool is_captured(const PodStatus& client, const PodStatus* server, const Backend& end,
                 const Interception& interception) {
  return server != nullptr && server->id != client.id && server->capture && !server->tunnel_only &&
         !interception.excluded.contains({server->netns_cookie, end.port, true});
}

// The row of where a tunnel leads from this pod; null: none does.
const compile::Remote* find_tunnelled(const PodStatus& client, const Backend& end, const Interception& interception) {
  if (!client.tunnels || interception.remotes == nullptr) return nullptr;
  const auto of_port = interception.remotes->find({.ip = end.ip, .port = end.port});
  const auto of_pod = interception.remotes->find({.ip = end.ip, .port = 0});
  const auto found = of_port != interception.remotes->end() ? of_port : of_pod;
  return found != interception.remotes->end() && found->second.tunnel == model::Tunnel::kHbone ? &found->second
                                                                                               : nullptr;
}

// Joins what several have to say.
void say(std::string& out, const std::string& words) { out += (out.empty() ? "" : "; ") + words; }

// Who asks for a worker and has one, and who asks and has none: it goes on without.
struct Captors {
  std::string present;
  std::string absent;

  void add(const PodStatus& pod, const Interception& interception) {
    const bool there = interception.workers.contains(pod.netns_cookie);
    say(there ? present : absent, there ? who_captures(pod) : who_captures(pod) + ", and no worker is there");
  }
  [[nodiscard]] Way or_else(Way otherwise) const {
    if (!present.empty()) otherwise = {UP_WAY_PROXIED, present};
    if (!absent.empty()) say(otherwise.reason, absent);
    return otherwise;
  }
};

// Why this enrolled pod's end is not short-circuited; empty: its mode is on.
std::string obstacle_of(const PodStatus& pod) {
  const std::string name = "Pod " + pod.id.to_string();
  switch (pod.short_circuit) {
    case model::ShortCircuit::kOn:
      return "";
    case model::ShortCircuit::kAuto:
      return name + " is still learned";
    case model::ShortCircuit::kOff:
      break;
  }
  return name + " has short-circuit off" +
         (pod.short_circuit_reason.empty() ? "" : " (" + pod.short_circuit_reason + ")");
}

// Without a worker.
Way plain_way_to(const PodStatus& client, const PodStatus* server, const Backend& end) {
  if (server == nullptr) return {UP_WAY_DIRECT, end.ip.to_string() + " is no enrolled pod of this node"};
  for (const PodStatus* one : {&client, server})
    if (std::string obstacle = obstacle_of(*one); !obstacle.empty()) return {UP_WAY_DIRECT, std::move(obstacle)};
  if (client.id.ns != server->id.ns) {
    for (const auto* one : {&client, server})
      if (one->peers != model::ShortCircuitPeers::kMesh)
        return {UP_WAY_DIRECT, "namespaces " + client.id.ns + " and " + server->id.ns + " differ, and Pod " +
                                   one->id.to_string() + " does not say short-circuit-peers: mesh"};
  }
  return {UP_WAY_SHORT_CIRCUIT, "Pod " + client.id.to_string() + " and Pod " + server->id.to_string() +
                                    " are enrolled on this node with short-circuit on"};
}

Way way_to(const PodStatus& client, const PodIndex& pods, const Backend& end, const Interception& interception) {
  const PodStatus* server = find_enrolled(pods, end.ip);
  const bool own = end.ip.is_loopback() || (server != nullptr && server->id == client.id);
  Captors captors;
  if (const auto* remote = own ? nullptr : find_tunnelled(client, end, interception); remote != nullptr) {
    const std::string why = "Pod " + remote->pod.to_string() + " is reached through a tunnel (HBONE)";
    // Not by plain TCP in place of it.
    if (!interception.workers.contains(client.netns_cookie))
      return {UP_WAY_PROXIED, why + ", and no worker is there: it is refused", true};
    return {UP_WAY_PROXIED, why};
  }
  if (client.capture && !client.inbound_only && !client.tunnel_only && !own) captors.add(client, interception);
  if (is_captured(client, server, end, interception)) captors.add(*server, interception);
  return captors.or_else(plain_way_to(client, server, end));
}

Way way_from_outside_to(const PodStatus& client, const PodIndex& pods, const Backend& end,
                        const Interception& interception) {
  const PodStatus* server = find_enrolled(pods, end.ip);
  Captors captors;
  if (is_captured(client, server, end, interception)) captors.add(*server, interception);
  return captors.or_else({});
}

struct Count {
  std::size_t number = 0;
  std::size_t refused = 0;
  std::string first_reason;
};

// By enum up_way.
using Counts = std::array<Count, 3>;

void add(Counts& counts, Way way) {
  auto& count = counts.at(way.way);
  if (way.refused) ++count.refused;
  if (count.number++ == 0) count.first_reason = std::move(way.reason);
}

std::string others_of(const Counts& counts, up_way way, std::size_t all) {
  std::string out;
  for (const auto [other, words] : {std::pair(UP_WAY_SHORT_CIRCUIT, "short-circuited"), {UP_WAY_PROXIED, "proxied"}}) {
    const auto number = counts.at(other).number;
    if (other == way || number == 0) continue;
    out += "; " + std::to_string(number) + " of " + std::to_string(all) + " backends would be " + std::string(words);
  }
  return out;
}

}  // namespace

Way way_to_any(const PodStatus& client, const PodIndex& pods, const std::vector<Backend>& ends,
               const Interception& interception) {
  if (ends.size() == 1) return way_to(client, pods, ends.front(), interception);
  Counts counts;
  for (const auto& end : ends) add(counts, way_to(client, pods, end, interception));
  const std::string all = std::to_string(ends.size());
  for (const up_way way : {UP_WAY_DIRECT, UP_WAY_SHORT_CIRCUIT, UP_WAY_PROXIED}) {
    const auto& count = counts.at(way);
    if (count.number == 0) continue;
    if (count.number < ends.size()) return {way, count.first_reason + others_of(counts, way, ends.size())};
    if (way == UP_WAY_SHORT_CIRCUIT)
      return {way, "all " + all + " backends are enrolled pods of this node with short-circuit on, as the client is"};
    return {way, count.first_reason + " (and likewise of all " + all + " backends)", count.refused == count.number};
  }
  return {};
}

Way way_from_outside(const PodStatus& client, const PodIndex& pods, const std::vector<Backend>& ends,
                     const Interception& interception) {
  Counts counts;
  for (const auto& end : ends) add(counts, way_from_outside_to(client, pods, end, interception));
  const auto& proxied = counts.at(UP_WAY_PROXIED);
  if (proxied.number == 0) return {UP_WAY_DIRECT, counts.at(UP_WAY_DIRECT).first_reason};
  const std::string all = std::to_string(ends.size());
  if (proxied.number == ends.size())
    return {UP_WAY_PROXIED,
            proxied.first_reason + (ends.size() > 1 ? " (and likewise of all " + all + " backends)" : "")};
  return {UP_WAY_DIRECT,
          std::to_string(proxied.number) + " of " + all + " backends would be proxied: " + proxied.first_reason};
}

}  // namespace underpass::admin
