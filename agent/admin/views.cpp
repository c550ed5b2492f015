// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/views.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "underpass/abi_names.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;

json::value text_or_null(std::string_view text) { return text.empty() ? json::value(nullptr) : json::value(text); }

json::value id_or_null(std::uint64_t id) { return id == 0 ? json::value(nullptr) : json::value(std::to_string(id)); }

std::string_view to_text(StatusInfo::State state) {
  switch (state) {
    case StatusInfo::State::kReady:
      return "ready";
    case StatusInfo::State::kStale:
      return "stale";
    case StatusInfo::State::kDegraded:
      break;
  }
  return "degraded";
}

// The mode in force: what the annotations say counts for enrolled pods only.
std::string_view short_circuit_of(const compile::PodStatus& pod) {
  if (!pod.enrolled) return "off";
  switch (pod.short_circuit) {
    case model::ShortCircuit::kAuto:
      return "learning";
    case model::ShortCircuit::kOn:
      return "on";
    case model::ShortCircuit::kOff:
      break;
  }
  return "off";
}

std::string short_circuit_reason_of(const compile::PodStatus& pod, const learn::Workloads& learned) {
  if (!pod.enrolled) return "not enrolled";
  if (pod.short_circuit != model::ShortCircuit::kAuto) return pod.short_circuit_reason;
  return learn::explain(learned.verdict_of(pod.workload));
}

json::array texts_view(const std::vector<std::string>& texts) {
  json::array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

json::value detached_view(const DetachedMarker& marker) {
  if (marker.is_empty()) return nullptr;
  json::array namespaces;
  for (const std::string& name : marker.namespaces) namespaces.emplace_back(name);
  return json::object{{"node", marker.node},
                      {"nodeLabel", marker.node_label},
                      {"namespaces", namespaces},
                      {"since", text_or_null(marker.since)}};
}

json::object pod_view(const compile::PodStatus& pod, const learn::Workloads& learned) {
  json::array ips;
  for (const IpAddress& ip : pod.ips) ips.emplace_back(ip.to_string());
  const bool captured = pod.enrolled && pod.capture;
  return {
      {"namespace", pod.id.ns},
      {"name", pod.id.name},
      {"ip", ips.empty() ? json::value(nullptr) : ips.front()},
      {"ips", ips},
      {"identity", text_or_null(pod.identity)},
      {"netnsCookie", id_or_null(pod.netns_cookie)},
      {"enrolled", pod.enrolled},
      {"refused", pod.refused},
      {"reason", text_or_null(pod.reason)},
      {"shortCircuit", short_circuit_of(pod)},
      {"shortCircuitReason", text_or_null(short_circuit_reason_of(pod, learned))},
      {"capture", !captured          ? "none"
                  : pod.tunnel_only  ? "tunnel"
                  : pod.inbound_only ? "inbound"
                                     : "always"},
      {"captureReason", text_or_null(captured ? pod.capture_reason : "")},
      {"tunnel", name_of(pod.enrolled && pod.tunnels ? UP_TUNNEL_HBONE : UP_TUNNEL_NONE)},
      {"owner", text_or_null(pod.workload.owner)},
      {"images", texts_view(pod.workload.images)},
  };
}

json::object end_view(const up_end& end, const PodIndex& pods, bool tunnelled) {
  return admin::end_view(IpAddress(end.addr), ntohs(end.port), end.netns_cookie, pods, tunnelled);
}

// Whom `original` is: where what was led to a worker wanted to go, or whose connection a worker carries.
json::object original_view(const up_conn& record, const PodIndex& pods) {
  return admin::end_view(IpAddress(record.original), ntohs(record.original_port), record.original_netns, pods,
                         record.tunnel != UP_TUNNEL_NONE);
}

json::value state_view(const up_conn& record) {
  const up_end& client = record.end[UP_CLIENT];
  const up_end& known = client.state != UP_TCP_NONE ? client : record.end[UP_SERVER];
  return known.state == UP_TCP_NONE ? json::value(nullptr) : json::value(name_of(known.state));
}

json::value fallback_view(const up_conn& record) {
  up_why why = UP_WHY_NONE;
  if (record.way == UP_WAY_DIRECT) {
    why = record.why;
  } else if (record.way == UP_WAY_SHORT_CIRCUIT) {
    // Only what goes by TCP at this moment; where both directions do, the later one tells.
    std::uint64_t latest = 0;
    for (const up_dir& direction : record.dir) {
      if (direction.state == UP_DIR_REDIRECT || direction.why == UP_WHY_NONE) continue;
      if (why != UP_WHY_NONE && direction.last_tcp_ns <= latest) continue;
      why = direction.why;
      latest = direction.last_tcp_ns;
    }
  }
  return why == UP_WHY_NONE ? json::value(nullptr) : json::value(name_of(why));
}

// Not a tunnel, nor a leg of a worker's: part of another connection, which is the one that is shown (up_is_told() of
// bpf/conns.h).
bool is_told(const up_conn& record) {
  const auto tunnels = [](const up_end& end) { return end.worker == UP_TUNNELS; };
  return std::ranges::none_of(record.end, tunnels) && (record.carries == 0 || record.tunnel != UP_TUNNEL_NONE);
}

json::object source_view(const up_conn& record, const PodIndex& pods) {
  return record.carries != 0 ? original_view(record, pods) : end_view(record.end[UP_CLIENT], pods, false);
}

// Where the client wanted to go. What its pod dialled and a worker took is at 127.0.0.1 or ::1 as TCP sees it.
json::object destination_view(const up_conn& record, const PodIndex& pods) {
  const bool led = record.original_port != 0 && record.carries == 0;
  return led ? original_view(record, pods) : end_view(record.end[UP_SERVER], pods, false);
}

json::object connection_view(const dataplane::Connection& connection, const PodIndex& pods, ClockOffset clock,
                             const ServiceName& service_name) {
  const up_conn& record = connection.record;
  const up_end& client = record.end[UP_CLIENT];
  const up_end& server = record.end[UP_SERVER];
  const up_dir& sent = record.dir[UP_CLIENT];
  const up_dir& received = record.dir[UP_SERVER];
  json::object destination = destination_view(record, pods);
  destination["service"] = service_view(record.service, service_name);
  return {
      {"id", std::to_string(connection.id)},
      {"netnsCookie", id_or_null(client.netns_cookie != 0 ? client.netns_cookie : server.netns_cookie)},
      {"source", source_view(record, pods)},
      {"destination", std::move(destination)},
      {"dialled", dialled_view(record.service, record.dialled, record.dialled_port)},
      {"way", name_of(record.way)},
      {"tunnel", name_of(static_cast<up_tunnel>(record.tunnel))},
      {"state", state_view(record)},
      {"bytesSent", sent.tcp_bytes + sent.redirected_bytes},
      {"bytesReceived", received.tcp_bytes + received.redirected_bytes},
      {"bytesShortCircuited", sent.redirected_bytes + received.redirected_bytes},
      {"fallbackReason", fallback_view(record)},
      {"startedAt",
       record.started_ns == 0 ? json::value(nullptr) : json::value(to_rfc3339(clock.to_wall(record.started_ns)))},
  };
}

}  // namespace

json::object status_view(const StatusInfo& status) {
  json::array reasons;
  for (const std::string& reason : status.reasons) reasons.emplace_back(reason);
  const char* deny_errno = status.deny_errno ? ::strerrorname_np(*status.deny_errno) : nullptr;
  return {
      {"node", status.node},
      {"version", status.version},
      {"state", to_text(status.state)},
      {"reasons", std::move(reasons)},
      {"staleSince", status.stale_since ? json::value(to_rfc3339(*status.stale_since)) : json::value(nullptr)},
      {"detached", detached_view(status.detached)},
      {"denyErrno", text_or_null(deny_errno != nullptr ? deny_errno : "")},
      {"listen", {{"metrics", text_or_null(status.metrics_listen)}, {"ready", text_or_null(status.ready_listen)}}},
      {"capabilities", capabilities_view(status.capabilities)},
      {"pods", {{"enrolled", status.pods_enrolled}, {"refused", status.pods_refused}}},
      {"memory", {{"used", status.memory_used}, {"limit", status.memory_limit}}},
  };
}

json::array capabilities_view(std::span<const dataplane::Capability> capabilities) {
  json::array rows;
  for (const dataplane::Capability& capability : capabilities) {
    rows.emplace_back(json::object{
        {"name", capability.name}, {"result", capability.result}, {"reason", text_or_null(capability.reason)}});
  }
  return rows;
}

json::array pods_view(std::span<const compile::PodStatus> pods, const learn::Workloads& learned) {
  json::array rows;
  for (const compile::PodStatus& pod : pods) rows.emplace_back(pod_view(pod, learned));
  return rows;
}

json::object relearn_view(const learn::Workload& workload, const learn::Verdict& was,
                          std::span<const compile::PodStatus> pods) {
  json::array names;
  for (const compile::PodStatus& pod : pods)
    if (pod.workload == workload) names.emplace_back(pod.id.to_string());
  return {
      {"workload", {{"namespace", workload.ns}, {"owner", workload.owner}, {"images", texts_view(workload.images)}}},
      {"was", learn::name_of(was.state)},
      {"pods", std::move(names)},
  };
}

PodIndex::PodIndex(std::span<const compile::PodStatus> pods, const compile::RemoteCompiler* remotes)
    : remotes_(remotes) {
  for (const compile::PodStatus& pod : pods) {
    if (pod.netns_cookie != 0) {
      const auto [entry, added] = by_cookie_.emplace(pod.netns_cookie, &pod);
      if (!added && pod.enrolled) entry->second = &pod;
    }
    for (const IpAddress& ip : pod.ips) {
      const auto [entry, added] = by_address_.emplace(ip, &pod);
      if (added || entry->second == &pod) continue;
      // Of two that claim an address, the one that was enrolled with it has it.
      const bool taken = entry->second != nullptr && entry->second->enrolled;
      if (pod.enrolled && !taken) {
        entry->second = &pod;
      } else if (pod.enrolled == taken) {
        entry->second = nullptr;
      }
    }
  }
}

const compile::PodStatus* PodIndex::find(NetnsCookie cookie) const {
  const auto found = by_cookie_.find(cookie);
  return found != by_cookie_.end() ? found->second : nullptr;
}

const compile::PodStatus* PodIndex::find(const IpAddress& address) const {
  const auto found = by_address_.find(address);
  return found != by_address_.end() ? found->second : nullptr;
}

std::optional<PodIndex::Remote> PodIndex::find_remote(const IpAddress& address) const {
  const auto* remote = remotes_ != nullptr ? remotes_->find(address) : nullptr;
  if (remote == nullptr) return std::nullopt;
  return Remote{.pod = remote->pod, .identity = remotes_->identity_of(*remote)};
}

std::string endpoint_text(const IpAddress& ip, std::uint16_t port) {
  return (ip.is_v4() ? ip.to_string() : "[" + ip.to_string() + "]") + ":" + std::to_string(port);
}

json::object end_view(const IpAddress& ip, std::uint16_t port, NetnsCookie netns, const PodIndex& pods,
                      bool tunnelled) {
  // A netns that is no longer known is a pod that has gone; its address may be another's by now.
  const compile::PodStatus* pod = netns != 0 ? pods.find(netns) : pods.find(ip);
  const bool attested = pod != nullptr && netns != 0;
  const auto remote = pod == nullptr && netns == 0 ? pods.find_remote(ip) : std::nullopt;
  if (remote)
    return {{"ip", ip.to_string()},
            {"port", port},
            {"namespace", remote->pod.ns},
            {"pod", remote->pod.name},
            {"identity", text_or_null(tunnelled ? remote->identity : "")}};
  return {
      {"ip", ip.to_string()},
      {"port", port},
      {"namespace", text_or_null(pod != nullptr ? pod->id.ns : "")},
      {"pod", text_or_null(pod != nullptr ? pod->id.name : "")},
      {"identity", text_or_null(attested ? pod->identity : "")},
  };
}

json::value service_view(std::uint32_t service, const ServiceName& service_name) {
  return service != 0 && service_name ? text_or_null(service_name(service)) : json::value(nullptr);
}

json::value dialled_view(std::uint32_t service, const up_addr& dialled, __be16 port) {
  return service != 0 ? json::value(endpoint_text(IpAddress(dialled), ntohs(port))) : json::value(nullptr);
}

json::array connections_view(std::span<const dataplane::Connection> connections, const PodIndex& pods,
                             ClockOffset clock, const ServiceName& service_name) {
  json::array rows;
  rows.reserve(connections.size());
  for (const dataplane::Connection& connection : connections)
    if (is_told(connection.record)) rows.emplace_back(connection_view(connection, pods, clock, service_name));
  return rows;
}

json::object detach_view(const dataplane::DetachResult& result) {
  json::array cut;
  for (const dataplane::CutConnection& connection : result.cut) {
    cut.emplace_back(json::object{{"id", std::to_string(connection.id)}, {"description", connection.description}});
  }
  json::array removed;
  for (const std::string& pin : result.removed) removed.emplace_back(pin);
  return {{"cut", std::move(cut)}, {"removed", std::move(removed)}};
}

}  // namespace underpass::admin
