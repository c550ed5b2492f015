// SPDX-License-Identifier: Apache-2.0
#include "agent/log_lines.h"

#include <spdlog/spdlog.h>

namespace underpass {

void log_change(const learn::Change& change) {
  const auto& verdict = change.verdict;
  const auto workload = change.workload.to_string();
  if (verdict.state == learn::State::kOn) {
    spdlog::info("workload-on workload={} connections={} reads={}", workload, verdict.connections, verdict.reads);
    return;
  }
  std::string traits;
  for (const auto& trait : verdict.traits) traits += (traits.empty() ? "" : ",") + trait;
  spdlog::log(change.late ? spdlog::level::warn : spdlog::level::info, "workload-off workload={} trait={} late={}",
              workload, traits, change.late);
}

void log_change(const compile::PodStatus& now, const compile::PodStatus* before) {
  const bool was_enrolled = before != nullptr && before->enrolled;
  if (now.enrolled && !was_enrolled)
    spdlog::info("pod-enrolled pod={} identity={} netns={}", now.id.to_string(), now.identity, now.netns_cookie);
  else if (now.refused && (before == nullptr || before->reason != now.reason))
    spdlog::warn("pod-refused pod={} reason=\"{}\"", now.id.to_string(), now.reason);
  else if (was_enrolled && !now.enrolled)
    spdlog::info("pod-left pod={} reason=\"{}\"", now.id.to_string(), now.reason);
}

std::string diagnostic_name(const model::Diagnostic& diagnostic) {
  std::string name = diagnostic.kind;
  if (!diagnostic.id.name.empty())
    name += " " + (diagnostic.id.ns.empty() ? diagnostic.id.name : diagnostic.id.to_string());
  if (!diagnostic.path.empty()) name += (name.empty() ? "" : ": ") + diagnostic.path;
  return name + ": " + diagnostic.cause;
}

void log_cut(const std::vector<std::string>& connections) {
  for (const auto& connection : connections) spdlog::info("connection-cut connection=\"{}\" reason=policy", connection);
}

}  // namespace underpass
