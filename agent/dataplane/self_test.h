// SPDX-License-Identifier: Apache-2.0
// What a short circuit does on this kernel, found by doing it: a real socket pair in a network namespace of its own,
// through the real programs, with maps and a cgroup that nobody else uses and that are gone afterwards. A kernel that
// fails a must-have leaves every connection on TCP.
#pragma once

#include <string>
#include <vector>

#include "agent/dataplane/probe.h"

namespace underpass::dataplane {

struct SelfTest {
  std::vector<Capability> rows;  // further rows of `underpassctl check`
  unsigned fionread_counts = 0;  // bits UP_INQ_*: which bytes FIONREAD of a mapped socket counts
};

struct SelfTestOptions {
  std::string cgroup_root;
  std::string bpffs;
  // An earlier agent's watchpoints are at work, so that there are none for the test: its own test saw what they see.
  bool calls_watched_already = false;
};

// Takes some 100 ms. A test that cannot be run is a row of its own, with the result "tcp".
SelfTest run_self_test(const SelfTestOptions& options, const Programs::Fitness& fitness);

}  // namespace underpass::dataplane
