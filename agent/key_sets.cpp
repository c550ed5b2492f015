// SPDX-License-Identifier: Apache-2.0
#include "agent/key_sets.h"

#include <algorithm>
#include <utility>

#include "agent/admin/wall_clock.h"
#include "agent/metric_family.h"

namespace underpass {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

bool is_fetched(const model::JwtRule& rule) { return rule.jwks.empty() && !rule.jwks_uri.empty(); }

std::string problem_text(const jwks::SetStatus& status) {
  return "jwks " + status.uri + ": " + status.problem + ", since " + admin::to_rfc3339(status.since) +
         (status.has_keys ? "; tokens are judged by the last keys" : "; its tokens are refused");
}

}  // namespace

std::set<jwks::Wanted> wanted_sets(std::span<const model::RequestAuthentication> authentications) {
  std::set<jwks::Wanted> wanted;
  for (const auto& object : authentications)
    for (const auto& rule : object.rules)
      if (is_fetched(rule)) wanted.insert({.uri = rule.jwks_uri, .timeout = rule.fetch_timeout});
  return wanted;
}

std::map<std::string, std::string> key_sets_of(const jwks::Sets& sets,
                                               std::span<const std::shared_ptr<const HttpPolicySet>> policy_sets) {
  std::map<std::string, std::string> out;
  for (const auto& policies : policy_sets)
    for (const auto& [uri, timeout] : wanted_sets(policies->authentications))
      if (const auto found = sets.find(uri); found != sets.end()) out.insert(*found);
  return out;
}

std::vector<std::string> key_set_problems(const jwks::Fetcher& fetcher) {
  std::vector<std::string> out;
  if (!fetcher.file_problem().empty()) out.push_back(fetcher.file_problem());
  for (const auto& status : fetcher.status())
    if (!status.problem.empty()) out.push_back(problem_text(status));
  return out;
}

std::vector<MetricFamily> collect_key_sets(const jwks::Fetcher& fetcher) {
  const auto all = fetcher.status();
  const auto count = [&](auto holds) { return static_cast<std::uint64_t>(std::ranges::count_if(all, holds)); };
  const auto counts = fetcher.counts();
  using Status = jwks::SetStatus;
  constexpr auto kCounter = MetricType::Counter;
  constexpr auto kGauge = MetricType::Gauge;
  const auto fresh = count([](const Status& one) { return one.has_keys && one.problem.empty(); });
  const auto stale = count([](const Status& one) { return one.has_keys && !one.problem.empty(); });
  const auto missing = count([](const Status& one) { return !one.has_keys; });
  const auto plain = count([](const Status& one) { return one.is_plain; });
  return {{.name = "underpass_jwks_fetches_total",
           .help = "Key sets that were asked for, by what came of it.",
           .type = kCounter,
           .metric = {counter_metric({{"result", "success"}}, counts.succeeded),
                      counter_metric({{"result", "failure"}}, counts.failed)}},
          {.name = "underpass_jwks_sets",
           .help = "Key sets that policies name: fresh, stale (the last try failed) or missing (tokens are refused).",
           .type = kGauge,
           .metric = {gauge_metric({{"state", "fresh"}}, fresh), gauge_metric({{"state", "stale"}}, stale),
                      gauge_metric({{"state", "missing"}}, missing)}},
          {.name = "underpass_jwks_unencrypted_sets",
           .help = "Key sets that policies name by http, so that whoever is in between chooses the keys.",
           .type = kGauge,
           .metric = {gauge_metric({}, plain)}}};
}

}  // namespace underpass
