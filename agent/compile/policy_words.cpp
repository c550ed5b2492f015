// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/policy_words.h"

#include "underpass/abi.h"

namespace underpass::compile {

std::string name_of(const ClauseOrigin& origin) {
  return origin.kind == "Pod" ? origin.kind : origin.kind + " " + origin.id.to_string();
}

std::string rule_of(const ClauseOrigin& origin) {
  if (origin.kind == "Pod") return origin.rule == 0 ? "probes" : "excluded ports";
  if (origin.kind == "PeerAuthentication") return origin.rule == 0 ? "STRICT" : "STRICT at the port";
  const std::string rule = "rules[" + std::to_string(origin.rule) + "]";
  return origin.source < 0 ? rule : rule + ".from[" + std::to_string(origin.source) + "]";
}

std::string describe(const ClauseOrigin& origin) { return name_of(origin) + " " + rule_of(origin); }

std::string join(const std::vector<NamespacedName>& names) {
  constexpr std::size_t kShown = 8;
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i) out += (i == 0 ? "" : ", ") + names[i].to_string();
  return names.size() > kShown ? out + " and " + std::to_string(names.size() - kShown) + " more" : out;
}

Denier denier_of(const PolicySet& set, std::size_t clause) {
  if (clause == UP_NO_WORKER) return {kNoWorker, ""};
  if (clause < set.clauses.size()) return {name_of(set.clauses[clause]), rule_of(set.clauses[clause])};
  if (set.closed) return {"closed: " + set.why_closed, ""};
  return {"no ALLOW policy matched: " + join(set.allow_policies), ""};
}

}  // namespace underpass::compile
