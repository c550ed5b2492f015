// SPDX-License-Identifier: Apache-2.0
// Which policy set each enrolled pod of this node has, from snapshot to snapshot. Pods that are alike share one, and
// what did not change is not compiled again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/compile/policies.h"
#include "agent/compile/policy_rows.h"
#include "underpass/model/objects.h"

namespace underpass::compile {

class PolicyCompiler {
 public:
  // Gives the pods of `compiled` their identities and their sets. A pod that no policy concerns has none.
  void update(const model::Snapshot& snapshot, Compiled& compiled);

  [[nodiscard]] IdentityNumbers& numbers() { return numbers_; }

 private:
  // What of a pod its set depends on.
  using Likeness = std::tuple<std::string, std::map<std::string, std::string>, std::vector<std::uint16_t>,
                              std::vector<std::uint16_t>>;

  std::shared_ptr<const PolicySet> set_of(const PolicyTarget& target);

  PolicyInput input_;
  std::map<Likeness, std::shared_ptr<const PolicySet>> sets_;  // null: no policy concerns such pods
  IdentityNumbers numbers_;
};

}  // namespace underpass::compile
