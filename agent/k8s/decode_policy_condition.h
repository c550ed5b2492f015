// SPDX-License-Identifier: Apache-2.0
// rules[].when[] of an AuthorizationPolicy: which keys there are, what their brackets hold, and what their values are.
#pragma once

#include <string>

#include "agent/k8s/field.h"
#include "underpass/model/policy.h"

namespace underpass::k8s {

// `ns` is the policy's namespace.
model::PolicyCondition decode_condition(const Field& field, const std::string& ns);

}  // namespace underpass::k8s
