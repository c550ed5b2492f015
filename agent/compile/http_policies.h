// SPDX-License-Identifier: Apache-2.0
// What policy leaves to workers: which pods need one, because an AuthorizationPolicy asks what only HTTP says, or its
// provider (CUSTOM), or a RequestAuthentication looks at tokens; and what such a worker is given. Pure.
//
// What comes to such a pod is led to its worker, and without one it is refused: a policy never fails open. A pod whose
// policies only tell (dry run, AUDIT) has a worker as well, and goes on without where there is none.
#pragma once

#include <optional>
#include <string>

#include "agent/compile/policies.h"
#include "underpass/routing_table.h"

namespace underpass::compile {

// A condition of which nothing can be told here.
bool has_unknown_condition(const model::PolicyRule& rule);
// Whether a worker must be asked, of some of its rules at least.
bool needs_http(const model::AuthorizationPolicy& policy);

struct WorkersPart {
  HttpPolicySet policies;
  bool decides = false;  // without a worker nobody connects
  std::string why;       // "AuthorizationPolicy shop/allow-get"; of those that decide, if one does
};

// All that apply to this pod, for the worker that its tunnels end in: it decides by the certificate of who comes.
HttpPolicySet compile_tunnels_part(const PolicyInput& input, const PolicyTarget& target);

// Nothing: no worker is needed for what others dial of this pod, as far as policy goes.
std::optional<WorkersPart> compile_workers_part(const PolicyInput& input, const PolicyTarget& target);

}  // namespace underpass::compile
