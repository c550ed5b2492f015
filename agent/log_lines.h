// SPDX-License-Identifier: Apache-2.0
// What the agent writes to its log about changes: an event, and then key=value.
#pragma once

#include <string>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/learn/workloads.h"
#include "underpass/model/objects.h"

namespace underpass {

// What was learned of a workload.
void log_change(const learn::Change& change);
// Where a pod stands; `before`: null, it was not there.
void log_change(const compile::PodStatus& now, const compile::PodStatus* before);
// Connections that were ended because policy does not allow them.
void log_cut(const std::vector<std::string>& connections);

// "Pod shop/web: spec.nodeName: must be a string"
std::string diagnostic_name(const model::Diagnostic& diagnostic);

}  // namespace underpass
