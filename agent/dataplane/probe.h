// SPDX-License-Identifier: Apache-2.0
// What this kernel can do, found by trying and not by its version: distributions backport. The rows of
// `underpassctl check`.
#pragma once

#include <string>
#include <vector>

#include "agent/dataplane/programs.h"
#include "underpass/result.h"

namespace underpass::dataplane {

// The row of what call_watch.h attaches, which another program may have taken from us.
inline constexpr const char* kCallWatch = "call-watch";

struct Capability {
  std::string name;
  std::string
      result;  // "exact": as TCP; "guarded": exact because a guard watches; "tcp": connections stay on plain TCP
  std::string reason;  // what was found, or what is missing and what that means
};

// Does this row, with the result "tcp", keep every connection on TCP? The calls that go past recv() concern mode `auto`
// alone: `on` is told of them and puts up with them.
bool concerns_all_modes(const Capability& row);

// Fails where the agent cannot run at all: no BTF, or older than what netns cookies need (Linux 5.15).
Result<std::vector<Capability>> probe_capabilities(Watchpoints watchpoints);

// What connect() returns where a program denies it: ECONNREFUSED where it may say so (bpf_set_retval, Linux 5.18), else
// EPERM.
int probe_deny_errno();

// What the programs may rely on, given the rows above.
Programs::Fitness fitness_of(const std::vector<Capability>& capabilities);

}  // namespace underpass::dataplane
