// SPDX-License-Identifier: Apache-2.0
// The cases of the self-test. They run in a process of their own, in the cgroup that the programs are attached to.
#pragma once

#include <string>

#include "agent/dataplane/maps.h"

namespace underpass::dataplane {

// Leaves the network namespace of the process for a new one. Returns rows as lines of "name TAB result TAB reason", and
// one of "fionread-counts TAB bits".
std::string run_self_test_cases(Maps& maps, bool calls_are_tested, bool calls_watched_already);

}  // namespace underpass::dataplane
