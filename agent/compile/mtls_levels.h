// SPDX-License-Identifier: Apache-2.0
// Which PeerAuthentications count for a workload: one of each level, and of these the innermost that says anything
// (security.istio.io/v1 PeerAuthentication).
#pragma once

#include "agent/compile/policies.h"
#include "underpass/model/policy.h"

namespace underpass::compile {

// Null: none of that level.
struct MtlsLevels {
  const model::PeerAuthentication* mesh = nullptr;
  const model::PeerAuthentication* ns = nullptr;
  const model::PeerAuthentication* workload = nullptr;

  // Whose mode is that of all ports that have none of their own, which is the workload's to say; null: nobody's.
  [[nodiscard]] const model::PeerAuthentication* innermost() const;
};

MtlsLevels find_mtls_levels(const PolicyInput& input, const PolicyTarget& target);

}  // namespace underpass::compile
