// SPDX-License-Identifier: Apache-2.0
// Which objects concern a workload: those of its namespace and of the root namespace, whose selector is in its labels.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "agent/compile/policies.h"

namespace underpass::compile {

inline bool selects(const std::map<std::string, std::string>& selector,
                    const std::map<std::string, std::string>& labels) {
  return std::ranges::all_of(selector, [&](const auto& wanted) {
    const auto found = labels.find(wanted.first);
    return found != labels.end() && found->second == wanted.second;
  });
}

inline bool is_in_scope(const NamespacedName& id, const PolicyInput& input, const PolicyTarget& target) {
  return id.ns == target.pod.ns || id.ns == input.mesh.root_namespace;
}

// Its selector is not known: it may be any workload of its scope. Null: there is none.
inline const UnreadPolicy* find_unread(const PolicyInput& input, const PolicyTarget& target) {
  const auto found = std::ranges::find_if(input.unread, [&](const UnreadPolicy& policy) {
    return policy.kind == "Mesh" ||
           (model::is_scoped_policy_kind(policy.kind) && is_in_scope(policy.id, input, target));
  });
  return found == input.unread.end() ? nullptr : &*found;
}

inline std::string describe(const UnreadPolicy& policy) {
  const auto& id = policy.id;
  return policy.kind + " " + (id.ns.empty() ? id.name : id.to_string()) + " was never understood";
}

}  // namespace underpass::compile
