// SPDX-License-Identifier: Apache-2.0
// The hooks that the agent has on every process of its cgroup, with programs that do nothing: what the kernel itself
// charges for them, below which no agent on these hooks can be.
#pragma once

#include <string>
#include <vector>

#include "underpass/unique_fd.h"

namespace underpass::bench {

class EmptyHooks {
 public:
  // connect4 and sockops of the cgroup, and the tracepoint of recv(), which is the whole machine's. Gone with the
  // object.
  explicit EmptyHooks(const std::string& cgroup);

 private:
  std::vector<UniqueFd> links_;
};

}  // namespace underpass::bench
