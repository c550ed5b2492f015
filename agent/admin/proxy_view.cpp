// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/proxy_view.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <string_view>

#include "underpass/abi_names.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;
using State = ProxyConfigInfo::State;

json::value text_or_null(std::string_view text) { return text.empty() ? json::value(nullptr) : json::value(text); }

std::string_view to_text(State state) {
  switch (state) {
    case State::kStarting:
      return "starting";
    case State::kReady:
      return "ready";
    case State::kBackingOff:
      return "backing-off";
    case State::kDraining:
      break;
  }
  return "draining";
}

json::object worker_view(const ProxyConfigInfo& info) {
  return {
      {"name", info.worker},
      {"state", to_text(info.state)},
      {"since", info.since ? json::value(to_rfc3339(*info.since)) : json::value(nullptr)},
      {"problem", text_or_null(info.problem)},
      {"pid", info.pid != 0 ? json::value(info.pid) : json::value(nullptr)},
      {"version", text_or_null(info.version)},
      {"restarts", info.restarts},
      {"cgroup", text_or_null(info.cgroup)},
  };
}

json::object config_view(const RoutingTable& table) {
  json::array pods;
  for (const auto& pod : table.pods)
    pods.emplace_back(json::object{{"namespace", pod.id.ns},
                                   {"name", pod.id.name},
                                   {"netnsCookie", std::to_string(pod.netns)},
                                   {"identity", pod.identity}});
  json::array identities;
  for (const auto& [number, identity] : table.identities)
    identities.emplace_back(json::object{{"number", number}, {"identity", identity}});
  return {
      {"revision", table.revision},
      {"threads", table.settings.threads},
      {"connectTimeoutMs", table.settings.connect_timeout.count()},
      {"idleTimeoutMs", table.settings.idle_timeout.count()},
      {"drainTimeoutMs", table.settings.drain_timeout.count()},
      {"pods", std::move(pods)},
      {"identities", std::move(identities)},
  };
}

}  // namespace

json::object proxy_config_view(const ProxyConfigInfo& info) {
  json::array listeners;
  for (const auto& listener : info.listeners)
    listeners.emplace_back(json::object{{"direction", name_of(listener.direction)},
                                        {"family", listener.address.is_v4() ? "IPv4" : "IPv6"},
                                        {"address", listener.address.to_string()},
                                        {"port", listener.port}});
  return {
      {"namespace", info.pod.ns},
      {"pod", info.pod.name},
      {"captureReason", text_or_null(info.capture_reason)},
      {"worker", worker_view(info)},
      {"listeners", std::move(listeners)},
      {"dialSockets", {{"ipv4", info.dials4}, {"ipv6", info.dials6}}},
      {"config", config_view(info.table)},
  };
}

std::expected<const compile::PodStatus*, CommandError> find_captured(std::span<const compile::PodStatus> pods,
                                                                     const NamespacedName& id) {
  const std::string name = "Pod " + id.to_string();
  const auto pod = std::ranges::find(pods, id, &compile::PodStatus::id);
  if (pod == pods.end()) return refuse(ErrorCode::kNotFound, name + ": not found on this node");
  if (!pod->enrolled)
    return refuse(ErrorCode::kNotFound,
                  name + " is not enrolled" + (pod->reason.empty() ? "" : " (" + pod->reason + ")"));
  if (!pod->capture)
    return refuse(ErrorCode::kNotFound, name + " has no worker: it is not captured (underpass.dev/capture: auto, " +
                                            pod->capture_reason + ")");
  return &*pod;
}

}  // namespace underpass::admin
