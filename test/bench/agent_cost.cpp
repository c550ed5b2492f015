// SPDX-License-Identifier: Apache-2.0
#include "test/bench/agent_cost.h"

#include <poll.h>

#include <ctime>
#include <stdexcept>

#include "test/bench/syscall_count.h"
#include "test/support/eventually.h"

namespace underpass::bench {
namespace {

using test::Clock;

// Threads that ended included.
double cpu_ms(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0)
    throw std::runtime_error("no CPU clock of process " + std::to_string(pid));
  return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
}

}  // namespace

AgentCost cost_while(pid_t agent, const std::function<void()>& what) {
  const MapWrites writes(agent);
  const double before = cpu_ms(agent);
  const auto begin = Clock::now();
  what();
  return {.wall_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count(),
          .cpu_ms = cpu_ms(agent) - before,
          .writes = static_cast<double>(writes.count())};
}

AgentCost cost_of_changes(pid_t agent, int count, const std::function<void(int)>& change) {
  const AgentCost busy = cost_while(agent, [&] {
    for (int i = 0; i < count; ++i) change(i);
  });
  const AgentCost idle =
      cost_while(agent, [&] { ::poll(nullptr, 0, static_cast<int>(busy.wall_ms)); });  // nothing happens
  return {.wall_ms = busy.wall_ms / count,
          .cpu_ms = (busy.cpu_ms - idle.cpu_ms) / count,
          .writes = (busy.writes - idle.writes) / count};
}

Row bounded_row(const std::string& group, const std::string& title, const std::string& conditions,
                const std::string& unit, double most) {
  Row row{.group = group, .title = title, .conditions = conditions, .unit = unit};
  row.series = {{"agent", {}}, {"bound", {}}};
  row.comparisons = {{"agent", "bound", Bound{Bound::Kind::kAtMost, 1.0}}};
  row.note = "The bound is what is asked for: " + std::to_string(static_cast<int>(most)) + " " + unit + ".";
  return row;
}

void add_bounded(Row& row, double value, double most) {
  row.of("agent").push_back(value);
  row.of("bound").push_back(most);
}

}  // namespace underpass::bench
