// SPDX-License-Identifier: Apache-2.0
#include "agent/policing.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <chrono>
#include <utility>

#include "agent/compile/workers.h"

namespace underpass {
namespace {

namespace json = boost::json;
using compile::Effect;
using model::Diagnostic;
using prometheus::ClientMetric;
using prometheus::MetricFamily;

json::value text_or_null(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

const char* side_of(std::size_t end) { return end == UP_CLIENT ? "client" : "server"; }

ClientMetric metric_of(const std::string& policy, std::size_t end, std::uint64_t count) {
  ClientMetric out;
  out.label = {{"policy", policy}, {"side", side_of(end)}};
  out.counter.value = static_cast<double>(count);
  return out;
}

// Whether a worker may have been told this by the policy: of none by name, by each ALLOW policy in dry run.
bool may_tell(const model::AuthorizationPolicy& policy, const PolicyNotice& notice) {
  using Action = model::AuthorizationPolicy::Action;
  if (notice.policy.name.empty()) return !notice.audited && policy.action == Action::kAllow && policy.dry_run;
  if (policy.id != notice.policy) return false;
  if (notice.audited) return policy.action == Action::kAudit;
  return policy.dry_run && (policy.action == Action::kDeny || policy.action == Action::kCustom);
}

}  // namespace

void Policing::add(const compile::PolicySet& set, const up_denied_key& key, std::uint64_t count) {
  const std::size_t end = key.end & 1;
  if (key.clause < set.clauses.size()) {
    const auto& origin = set.clauses[key.clause];
    auto& counts = counts_[{origin.kind, origin.id}];
    auto& all = key.silent == 0 ? counts.denied : origin.effect == Effect::kAudit ? counts.audited : counts.dry_run;
    all[end] += count;
    return;
  }
  if (key.clause == UP_NO_WORKER) {
    counts_[{"Worker", {"", compile::kNoWorker}}].denied[end] += count;
    return;
  }
  (key.silent == 0 ? counts_[{}].denied : counts_[{}].dry_run)[end] += count;
  for (const auto& id : key.silent == 0 ? set.allow_policies : set.dry_run_allow_policies) {
    auto& counts = default_denials_[{"AuthorizationPolicy", id}];
    (key.silent == 0 ? counts.denied : counts.dry_run)[end] += count;
  }
}

void Policing::hear(const std::string& worker, std::span<const PolicyNoticeCount> notices,
                    std::span<const compile::PodStatus> pods) {
  for (const auto& [notice, requests] : notices) {
    const auto pod = std::ranges::find(pods, notice.server, &compile::PodStatus::netns_cookie);
    if (pod == pods.end() || pod->http == nullptr || !compile::is_worker_of(worker, pod->id.ns)) continue;
    const auto tells = [&](const model::AuthorizationPolicy& policy) { return may_tell(policy, notice); };
    if (std::ranges::none_of(pod->http->policies, tells)) continue;
    if (!notice.policy.name.empty()) {
      auto& counts = counts_[{"AuthorizationPolicy", notice.policy}];
      (notice.audited ? counts.audited : counts.dry_run)[UP_SERVER] += requests;
      continue;
    }
    counts_[{}].dry_run[UP_SERVER] += requests;
    for (const auto& policy : pod->http->policies)
      if (tells(policy)) default_denials_[{"AuthorizationPolicy", policy.id}].dry_run[UP_SERVER] += requests;
  }
}

void Policing::tick(dataplane::Dataplane& dataplane, std::span<const compile::PodStatus> pods,
                    std::span<const up_flow> flows) {
  count(dataplane);
  const auto now = std::chrono::steady_clock::now();
  const admin::PodIndex index(pods);
  for (const auto& flow : flows)
    if (flow.event == UP_FLOW_DENIED)
      log_.add(flow, dataplane.policies().denier_of(flow.policy, flow.clause), index, now);
  for (const auto& line : log_.take(now)) spdlog::info("{}", line);
}

void Policing::count(dataplane::Dataplane& dataplane) {
  static const compile::PolicySet kNoRoom;
  decltype(seen_) now;
  for (const auto& [key, count] : dataplane.denied()) {
    const std::array<std::uint32_t, 4> place{key.set, key.clause, key.end, key.silent};
    const auto before = seen_.find(place);
    const std::uint64_t fresh = count - (before == seen_.end() ? 0 : before->second);
    now.emplace(place, count);
    const auto* set = key.set == dataplane::Policies::kClosed ? &kNoRoom : dataplane.policies().find(key.set);
    if (fresh != 0 && set != nullptr) add(*set, key, fresh);
  }
  seen_ = std::move(now);
}

json::array Policing::policies(const model::Snapshot& snapshot) const {
  std::map<Name, json::object> rows;
  const auto row_of = [&](const std::string& kind, const NamespacedName& id) -> json::object& {
    const Name name{kind, id};
    const auto [place, fresh] = rows.try_emplace(name);
    if (!fresh) return place->second;
    std::uint64_t denied = 0;
    std::uint64_t dry_run = 0;
    std::uint64_t audited = 0;
    for (const auto* counts : {&counts_, &default_denials_}) {
      const auto found = counts->find(name);
      if (found == counts->end()) continue;
      for (const auto count : found->second.denied) denied += count;
      for (const auto count : found->second.dry_run) dry_run += count;
      for (const auto count : found->second.audited) audited += count;
    }
    place->second = {{"kind", kind},
                     {"namespace", text_or_null(id.ns)},
                     {"name", id.name},
                     {"state", "active"},
                     {"path", nullptr},
                     {"cause", nullptr},
                     {"since", nullptr},
                     {"denied", denied},
                     {"dryRunDenied", dry_run},
                     {"audited", audited}};
    return place->second;
  };
  for (const auto& [id, policy] : snapshot.authorization_policies) row_of("AuthorizationPolicy", id);
  for (const auto& [id, one] : snapshot.peer_authentications) row_of("PeerAuthentication", id);
  for (const auto& [id, one] : snapshot.request_authentications) row_of("RequestAuthentication", id);
  for (const auto& diagnostic : snapshot.diagnostics) {
    if (!model::is_policy_kind(diagnostic.kind)) continue;
    auto& row = row_of(diagnostic.kind, diagnostic.id);
    row["state"] = diagnostic.state == Diagnostic::State::kStale ? "stale" : "refused";
    row["path"] = text_or_null(diagnostic.path);
    row["cause"] = text_or_null(diagnostic.cause);
    row["since"] = text_or_null(diagnostic.since);
  }
  json::array out;
  for (auto& [name, row] : rows) out.emplace_back(std::move(row));
  return out;
}

std::vector<MetricFamily> Policing::collect() const {
  MetricFamily denied{.name = "underpass_denied_total",
                      .help =
                          "Connections that policy refused; no policy: that none allowed; \"no worker\": that "
                          "none was there to decide about.",
                      .type = prometheus::MetricType::Counter,
                      .metric = {}};
  MetricFamily dry_run{.name = "underpass_dry_run_denied_total",
                       .help =
                           "Connections that policy in dry run would have refused, and where its rule asks for HTTP "
                           "requests; no policy: "
                           "that none would have allowed.",
                       .type = prometheus::MetricType::Counter,
                       .metric = {}};
  MetricFamily audited{.name = "underpass_audited_total",
                       .help = "Connections that an AUDIT policy matched, and where its rule asks for HTTP requests.",
                       .type = prometheus::MetricType::Counter,
                       .metric = {}};
  for (const auto& [name, counts] : counts_) {
    const std::string policy = name.id.ns.empty() ? name.id.name : name.id.to_string();
    for (const std::size_t end : {UP_CLIENT, UP_SERVER}) {
      if (counts.denied[end] != 0) denied.metric.push_back(metric_of(policy, end, counts.denied[end]));
      if (counts.dry_run[end] != 0) dry_run.metric.push_back(metric_of(policy, end, counts.dry_run[end]));
      if (counts.audited[end] != 0) audited.metric.push_back(metric_of(policy, end, counts.audited[end]));
    }
  }
  return {std::move(denied), std::move(dry_run), std::move(audited)};
}

}  // namespace underpass
