// SPDX-License-Identifier: Apache-2.0
// What a change costs an agent, measured from outside.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "test/bench/report.h"

namespace underpass::bench {

struct AgentCost {
  double wall_ms = 0;
  double cpu_ms = 0;  // of all threads of the process
  double writes = 0;  // to BPF maps
};

AgentCost cost_while(pid_t agent, const std::function<void()>& what);
// Of each of `count` times change(0), change(1), …; CPU time and writes net of what the agent uses in as long a time
// without one.
AgentCost cost_of_changes(pid_t agent, int count, const std::function<void(int)>& change);

// A row of one series against a number rather than another variant.
Row bounded_row(const std::string& group, const std::string& title, const std::string& conditions,
                const std::string& unit, double most);
void add_bounded(Row& row, double value, double most);

}  // namespace underpass::bench
