// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/mtls_levels.h"

#include <tuple>

#include "agent/compile/policy_scope.h"

namespace underpass::compile {
namespace {

using model::PeerAuthentication;

// As of Services: an object of which it is not known how old it is, is younger than any.
bool is_older(const PeerAuthentication& a, const PeerAuthentication& b) {
  return std::tuple(a.created.empty(), std::tie(a.created, a.id)) <
         std::tuple(b.created.empty(), std::tie(b.created, b.id));
}

}  // namespace

const PeerAuthentication* MtlsLevels::innermost() const {
  for (const auto* level : {workload, ns, mesh})
    if (level != nullptr && level->mode != model::MtlsMode::kUnset) return level;
  return nullptr;
}

MtlsLevels find_mtls_levels(const PolicyInput& input, const PolicyTarget& target) {
  MtlsLevels out;
  for (const auto& one : input.peer_authentications) {
    if (!is_in_scope(one->id, input, target)) continue;
    const bool of_root = one->id.ns == input.mesh.root_namespace;
    if (!one->selector.empty() && (of_root || !selects(one->selector, target.labels))) continue;
    auto& level = !one->selector.empty() ? out.workload : of_root ? out.mesh : out.ns;
    if (level == nullptr || is_older(*one, *level)) level = one.get();
  }
  return out;
}

}  // namespace underpass::compile
