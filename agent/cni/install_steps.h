// SPDX-License-Identifier: Apache-2.0
// One look at the node, and what is missing put right: blocking, and the same whoever was killed in the middle before.
#pragma once

#include <string>

#include "agent/cni/installer.h"

namespace underpass::cni {

struct InstallState {
  bool in_place = false;
  bool changed = false;       // something was written
  bool look_again = false;    // somebody is writing there at this moment
  std::string configuration;  // the file that names the plugin
  std::string problem;        // why it is not in place
};

// `may_write`: false only looks; what is missing is a problem then.
InstallState install_now(const InstallOptions& options, bool may_write = true);

}  // namespace underpass::cni
