// SPDX-License-Identifier: Apache-2.0
// The agent's part in policy: compiles what the objects say, counts what they denied, and answers what operators ask of
// it.
#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <boost/json/array.hpp>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "agent/compile/policy_compiler.h"
#include "agent/dataplane/dataplane.h"
#include "agent/denial_log.h"
#include "underpass/model/objects.h"
#include "underpass/policy_notice.h"

namespace underpass {

class Policing {
 public:
  // After each new snapshot: identities and sets of the enrolled pods.
  void update(const model::Snapshot& snapshot, compile::Compiled& compiled) { compiler_.update(snapshot, compiled); }
  [[nodiscard]] compile::IdentityNumbers& numbers() { return compiler_.numbers(); }

  // Once a second, before somebody looks, and before sets go: counts what they did, and writes denials among `flows` to
  // the log.
  void tick(dataplane::Dataplane& dataplane, std::span<const compile::PodStatus> pods, std::span<const up_flow> flows);

  // What the worker of that name has told of requests, of its own pods' policies.
  void hear(const std::string& worker, std::span<const PolicyNoticeCount> notices,
            std::span<const compile::PodStatus> pods);

  // Rows of `policies`: {kind, namespace, name, state: "active" | "refused" | "stale", path, cause, since, denied,
  // dryRunDenied, audited}. A connection that no ALLOW policy matched is counted with each of those that apply.
  [[nodiscard]] boost::json::array policies(const model::Snapshot& snapshot) const;

  // underpass_denied_total{policy,side}, underpass_dry_run_denied_total{policy,side} and
  // underpass_audited_total{policy,side}.
  [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

 private:
  struct Name {
    std::string kind;  // empty: no policy, but that none allowed it
    NamespacedName id;

    auto operator<=>(const Name&) const = default;
  };
  struct Counts {
    std::uint64_t denied[2] = {};  // by UP_CLIENT, UP_SERVER: who was asked
    std::uint64_t dry_run[2] = {};
    std::uint64_t audited[2] = {};
  };

  void add(const compile::PolicySet& set, const up_denied_key& key, std::uint64_t count);
  void count(dataplane::Dataplane& dataplane);

  compile::PolicyCompiler compiler_;
  std::map<Name, Counts> counts_;
  std::map<Name, Counts> default_denials_;  // of ALLOW policies of which none matched
  DenialLog log_;
  std::map<std::array<std::uint32_t, 4>, std::uint64_t> seen_;
};

}  // namespace underpass
