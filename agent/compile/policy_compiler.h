// SPDX-License-Identifier: Apache-2.0
// Which policy set each enrolled pod of this node has, and which of them need a worker for it, from snapshot to
// snapshot. Pods that are alike share one, and what did not change is not compiled again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/compile/http_policies.h"
#include "agent/compile/policies.h"
#include "agent/compile/policy_rows.h"
#include "underpass/model/objects.h"

namespace underpass::compile {

class PolicyCompiler {
 public:
  // Gives the pods of `compiled` their identities and their sets, and has those captured whose policies need HTTP. A
  // pod that no policy concerns has none.
  void update(const model::Snapshot& snapshot, Compiled& compiled);

  [[nodiscard]] IdentityNumbers& numbers() { return numbers_; }

 private:
  // What of a pod its set depends on.
  using Likeness = std::tuple<std::string, std::map<std::string, std::string>, std::vector<std::uint16_t>,
                              std::vector<std::uint16_t>>;
  struct Judgement {
    std::shared_ptr<const PolicySet> set;            // null: no policy concerns such pods
    std::shared_ptr<const HttpPolicySet> http;       // null: no worker is needed
    std::shared_ptr<const HttpPolicySet> tunnelled;  // where none is, for what tunnels bring; null: no policy applies
    bool worker_decides = false;
    std::string why;
  };

  const Judgement& judgement_of(const PolicyTarget& target);
  std::shared_ptr<const HttpPolicySet> shared(HttpPolicySet set);
  static void lead_to_worker(const Judgement& judgement, const model::Pod& pod, PodStatus& status, Tables& tables);

  PolicyInput input_;
  std::map<Likeness, Judgement> judgements_;
  std::vector<std::shared_ptr<const HttpPolicySet>> http_sets_;  // each content once
  IdentityNumbers numbers_;
};

}  // namespace underpass::compile
