// SPDX-License-Identifier: Apache-2.0
// Where a measured process runs: in which network namespace, in which cgroup and on which CPU. Errors are exceptions
// here and in the whole benchmark, as in test/support.
#pragma once

#include <string>

namespace underpass::bench {

struct Place {
  std::string netns{};   // path, as /var/run/netns/NAME; empty: the caller's
  std::string cgroup{};  // folder under the cgroup2 mount; empty: the caller's
  int cpu = -1;          // -1: not pinned
};

// Moves the calling process there. To be called in a fresh child: there is no way back.
void enter(const Place& place);

}  // namespace underpass::bench
