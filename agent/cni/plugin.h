// SPDX-License-Identifier: Apache-2.0
// One run of the plugin: asks the agent, and where that does not answer goes by the enrolment file, so that a pod of
// the mesh never starts unguarded and nobody else ever waits for us.
#pragma once

#include <string>
#include <string_view>

#include "agent/cni/plugin_call.h"

namespace underpass::cni {

struct PluginOutcome {
  int exit_code = 0;
  std::string output;  // JSON for the runtime; empty where the specification asks for none
};

PluginOutcome run_plugin(const Environment& environment, std::string_view input);

}  // namespace underpass::cni
