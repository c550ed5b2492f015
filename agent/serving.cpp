// SPDX-License-Identifier: Apache-2.0
#include "agent/serving.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "agent/admin/explain.h"
#include "agent/admin/service_views.h"
#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"

namespace underpass {
namespace {

// A table that is as full as this is reported before it is full.
constexpr std::uint64_t kNearlyFullPercent = 90;
// A worker may say anything of how many flows it has not told.
constexpr std::uint64_t kMostSkipped = 1'000'000;

void report_fill(const dataplane::Maps::Fill& fill, std::vector<std::string>& out) {
  if (fill.capacity == 0 || fill.entries * 100 < fill.capacity * kNearlyFullPercent) return;
  out.push_back(std::string(fill.map) + " is " + std::to_string(fill.entries * 100 / fill.capacity) + " % full (" +
                std::to_string(fill.entries) + " of " + std::to_string(fill.capacity) +
                "): what does not fit is refused, the newest first");
}

std::string service_diagnostic(const model::Diagnostic& conflict) {
  return "Service " + conflict.id.to_string() + ": " + conflict.path + ": " + conflict.cause;
}

TrafficPeer peer_of(const compile::PodStatus& pod, const model::Snapshot& snapshot) {
  const auto object = snapshot.pods.find(pod.id);
  return traffic_peer_of(pod,
                         object == snapshot.pods.end() ? std::map<std::string, std::string>{} : object->second.labels);
}

std::vector<RequestMeter::Pod> enrolled_peers(std::span<const compile::PodStatus> pods,
                                              const model::Snapshot& snapshot) {
  std::vector<RequestMeter::Pod> out;
  for (const auto& pod : pods)
    if (pod.enrolled) out.emplace_back(pod.netns_cookie, peer_of(pod, snapshot));
  return out;
}

TrafficMeter::FindService service_finder(const dataplane::Dataplane& dataplane) {
  return [&dataplane](std::uint32_t id) -> std::optional<NamespacedName> {
    const auto* key = dataplane.services().find(id);
    if (key == nullptr) return std::nullopt;
    return key->service;
  };
}

TrafficMeter::FindWorkload workload_finder(const compile::RemoteCompiler& remotes, const std::string& trust_domain) {
  return [&remotes, &trust_domain](std::uint32_t number) -> std::optional<TrafficPeer> {
    const auto* found = remotes.find_workload(number);
    if (found == nullptr) return std::nullopt;
    return TrafficPeer{.workload = found->owner.substr(found->owner.find('/') + 1),
                       .ns = found->account.ns,
                       .principal = spiffe_id(trust_domain, found->account.ns, found->account.name),
                       .app = found->app,
                       .version = found->version,
                       .canonical_service = "",
                       .canonical_revision = ""};
  };
}

}  // namespace

admin::ServiceName service_names(const dataplane::Dataplane* dataplane) {
  return [dataplane](std::uint32_t id) { return dataplane != nullptr ? dataplane->services().name_of(id) : ""; };
}

void Serving::update(const model::Snapshot& snapshot, const model::Changes& changes, dataplane::Dataplane* dataplane) {
  const auto update = compiler_.update(snapshot, node_name_, changes);
  for (const auto& conflict : compiler_.conflicts())
    if (std::ranges::find(logged_, conflict) == logged_.end())
      spdlog::warn("object-refused {}", service_diagnostic(conflict));
  logged_ = compiler_.conflicts();
  if (dataplane == nullptr) return;
  std::vector<std::string> errors;
  for (const auto& error : dataplane->apply_services(compiler_, update)) errors.push_back(error.message);
  for (const auto& error : errors)
    if (std::ranges::find(errors_, error) == errors_.end()) spdlog::error("apply-failed {}", error);
  errors_ = std::move(errors);

  full_.clear();
  for (const auto& fill : dataplane->services().fill()) report_fill(fill, full_);
}

void Serving::tick(dataplane::Dataplane& dataplane, std::span<const compile::PodStatus> pods,
                   const model::Snapshot& snapshot, std::span<const up_flow> flows) {
  for (const auto& flow : flows) {
    const bool denied = flow.event == UP_FLOW_DENIED;
    flow_log_.add(flow, denied ? dataplane.policies().denier_of(flow.policy, flow.clause).to_text() : "");
  }

  request_meter_.observe(enrolled_peers(pods, snapshot));
  const admin::PodIndex index(pods, &remotes_);
  const auto find_peer = [&](NetnsCookie cookie) -> std::optional<TrafficPeer> {
    const auto* pod = index.find(cookie);
    if (pod == nullptr) return std::nullopt;
    return peer_of(*pod, snapshot);
  };
  const auto rows = dataplane.service_maps().traffic();
  meter_.observe(rows, find_peer, service_finder(dataplane), workload_finder(remotes_, trust_domain_));
  const auto& present = dataplane.tables().pods;
  const auto is_gone = [&present](NetnsCookie cookie) { return cookie != 0 && !present.contains(cookie); };
  for (const auto& [key, row] : rows)
    if (is_gone(key.client_netns) || is_gone(key.server_netns) ||
        (key.workload != 0 && remotes_.find_workload(key.workload) == nullptr))
      dataplane.service_maps().remove_traffic(key);
}

void Serving::note_pods(std::span<const compile::PodStatus> pods, const model::Snapshot& snapshot) {
  request_meter_.know(enrolled_peers(pods, snapshot));
  trust_domain_ = snapshot.mesh.value_or(model::MeshConfig{}).trust_domain;
}

void Serving::hear(const std::string& worker, const worker::Metrics& message, const dataplane::Dataplane& dataplane) {
  request_meter_.add(worker, message.series, service_finder(dataplane), workload_finder(remotes_, trust_domain_));
}

void Serving::hear(const std::string& worker, worker::Requests message) {
  request_flows_lost_ += std::min<std::uint64_t>(message.skipped, kMostSkipped);
  for (auto& flow : message.flows)
    if (request_meter_.is_own(worker, flow.inbound ? flow.server : flow.client)) flow_log_.add(std::move(flow));
}

std::vector<std::string> Serving::problems() const {
  auto out = errors_;
  std::ranges::copy(full_, std::back_inserter(out));
  for (const auto& conflict : compiler_.conflicts()) out.push_back(service_diagnostic(conflict));
  return out;
}

admin::Answer Serving::services(const model::Snapshot& snapshot) const {
  std::map<IpAddress, std::string> names;
  for (const auto& [id, pod] : snapshot.pods)
    if (!pod.terminated)
      for (const auto& ip : pod.ips) names.emplace(ip, id.to_string());
  auto diagnostics = compiler_.conflicts();
  std::ranges::copy(snapshot.diagnostics, std::back_inserter(diagnostics));
  return admin::services_view(compiler_.tables(), diagnostics, [&names](const IpAddress& ip) {
    const auto found = names.find(ip);
    return found == names.end() ? std::string() : found->second;
  });
}

admin::Answer Serving::explain(const boost::json::object& request, const model::Snapshot& snapshot,
                               std::span<const compile::PodStatus> pods, const dataplane::Dataplane* dataplane) const {
  const auto decoded = admin::decode_explain(request);
  if (!decoded) return std::unexpected(decoded.error());
  static const std::set<compile::ExcludedPort> kNone;
  std::set<NetnsCookie> workers;
  if (dataplane != nullptr)
    for (const auto& [netns, row] : dataplane->worker_maps().workers()) workers.insert(netns);
  return admin::explain(
      *decoded, {.pods = pods,
                 .services = compiler_.tables(),
                 .node_addresses = compiler_.node_addresses(),
                 .conflicts = compiler_.conflicts(),
                 .excluded = dataplane != nullptr ? dataplane->tables().excluded : kNone,
                 .workers = workers,
                 .policy_of =
                     [dataplane](const compile::PodStatus& pod) {
                       return dataplane != nullptr ? dataplane->policy_of(pod.netns_cookie) : nullptr;
                     },
                 .remotes = &remotes_.remotes(),
                 .path_normalization = snapshot.mesh.value_or(model::MeshConfig{}).proxy.http.path_normalization});
}

admin::Answer Serving::flows(const boost::json::object& request, std::span<const compile::PodStatus> pods,
                             const dataplane::Dataplane* dataplane) const {
  const auto since = admin::decode_flows(request);
  if (!since) return std::unexpected(since.error());
  return flow_log_.view(*since, admin::PodIndex(pods, &remotes_), admin::ClockOffset::now(), service_names(dataplane));
}

std::vector<prometheus::MetricFamily> Serving::collect() const {
  auto out = meter_.collect();
  std::ranges::move(request_meter_.collect(), std::back_inserter(out));
  prometheus::ClientMetric lost;
  lost.counter.value = static_cast<double>(request_flows_lost_);
  out.push_back({.name = "underpass_request_flows_lost_total",
                 .help = "Requests that came faster than `underpassctl flows` is told of them.",
                 .type = prometheus::MetricType::Counter,
                 .metric = {lost}});
  return out;
}

void Serving::describe(MetricsInput& metrics) const {
  metrics.services = compiler_.tables().size();
  metrics.service_backends = 0;
  for (const auto& [key, table] : compiler_.tables()) metrics.service_backends += table.backends.size();
}

}  // namespace underpass
