// SPDX-License-Identifier: Apache-2.0
// How policy's verdicts are told to people: in flows, in the log, by `explain`.
#pragma once

#include <string>
#include <vector>

#include "agent/compile/policies.h"

namespace underpass::compile {

// "AuthorizationPolicy shop/web"; of a Pod's bypass "Pod".
std::string name_of(const ClauseOrigin& origin);
// What of it: "rules[0].from[1]", "STRICT", "probes".
std::string rule_of(const ClauseOrigin& origin);
// Both: "AuthorizationPolicy shop/web rules[0].from[1]".
std::string describe(const ClauseOrigin& origin);

// "shop/a, shop/b"; of many the first ones, and how many more there are.
std::string join(const std::vector<NamespacedName>& names);

// In place of a policy: one asks for a worker to decide, and none was there.
inline constexpr const char* kNoWorker = "no worker";

// Who denied a connection.
struct Denier {
  std::string policy;  // "AuthorizationPolicy shop/web", or "no ALLOW policy matched: shop/a, shop/b", or "closed:
                       // why", or kNoWorker
  std::string rule;    // as rule_of(); empty where it was no clause

  [[nodiscard]] std::string to_text() const { return rule.empty() ? policy : policy + " " + rule; }
  bool operator==(const Denier&) const = default;
};

// By the clause's index in the set; one that the set does not have: none allowed it.
Denier denier_of(const PolicySet& set, std::size_t clause);

}  // namespace underpass::compile
