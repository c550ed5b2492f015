// SPDX-License-Identifier: Apache-2.0
// The rows of what the agent costs those who do not use it: the calls of an unenrolled process, and memory.
#include <unistd.h>

#include <sstream>

#include "test/bench/calls.h"
#include "test/bench/empty_hooks.h"
#include "test/bench/round_trip.h"
#include "test/bench/rows.h"

namespace underpass::bench {
namespace {

constexpr const char* kOff = "agent off";
constexpr const char* kOn = "agent on";
constexpr const char* kEmpty = "empty hooks";  // without the agent
constexpr double kMostExtra = 1.02;

std::string title_of(Call call) {
  switch (call) {
    case Call::kConnect:
      return "connect()";
    case Call::kAccept:
      return "accept()";
    case Call::kSend:
      return "send() of 64 B";
    case Call::kRecv:
      return "recv() of 64 B that are there";
    case Call::kRecvLarge:
      return "recv() of 16 KB that are there";
    case Call::kRecvUnix:
      return "recv() of 64 B that are there, unix socket";
    case Call::kGetppid:
      return "getppid(): the control, what the measurement itself wavers by";
  }
  return "";
}

Row calls_row(const Plan& plan, Call call) {
  std::ostringstream conditions;
  conditions << "unenrolled, loopback, CPU " << plan.first_cpu << ", " << plan.calls.count() << " s × 2 × "
             << plan.cycles;
  Row row{.group = "unenrolled", .title = title_of(call), .conditions = conditions.str(), .unit = "ns"};
  row.comparisons = {{kOn, kOff}, {kEmpty, kOff}};
  if (call != Call::kGetppid && call != Call::kRecvUnix) {
    row.comparisons[0].target = Bound{Bound::Kind::kAtMost, kMostExtra};
  }
  return row;
}

Row round_trip_row(const Plan& plan) {
  std::ostringstream conditions;
  conditions << "loopback, unenrolled, both on CPU " << plan.first_cpu << ", 1 connection, blocking, " << kSmallBytes
             << " B, " << plan.calls.count() / 2 << " s × 2 × " << plan.cycles;
  return {.group = "unenrolled",
          .title = "round trip of two unenrolled processes",
          .conditions = conditions.str(),
          .unit = "µs",
          .comparisons = {{kOn, kOff, Bound{Bound::Kind::kAtMost, kMostExtra}}, {kEmpty, kOff}}};
}

// Rows of calls stand in the order of kCalls. The control was timed among them; the round trip was not.
void correct_by_control(std::vector<Row>& rows) {
  const Row& getppid = rows[static_cast<std::size_t>(Call::kGetppid)];
  for (std::size_t i = 0; i < getppid.comparisons.size(); ++i) {
    const Numbers control = getppid.ratios_of(getppid.comparisons[i]);
    for (const Call call : kCalls)
      if (call != Call::kGetppid) rows[static_cast<std::size_t>(call)].comparisons[i].control = control;
  }
}

}  // namespace

// On, off and the hooks alone take turns, each phase takes the median of some hundred slices, and each ratio is that of
// two phases side by side. Order is turned round with every cycle, so that a steady drift cancels out too.
std::vector<Row> measure_unenrolled(Node& node, const Plan& plan) {
  std::vector<Row> rows;
  for (const Call call : kCalls) rows.push_back(calls_row(plan, call));
  rows.push_back(round_trip_row(plan));
  const Place place = node.unenrolled(plan.first_cpu);
  const Pair pair{.variant = "unenrolled", .client = place, .server = place, .host = "127.0.0.1"};
  for (Row& row : rows) row.series = {{kOff, {}}, {kOn, {}}, {kEmpty, {}}};
  CallMeter meter(place);
  const auto phase = [&](const char* variant) {
    for (std::size_t i = 0; const auto& [call, nanoseconds] : meter.measure(plan.calls)) {
      rows[i++].of(variant).push_back(nanoseconds);
    }
    rows.back().of(variant).push_back(measure_round_trip(pair, kSmallBytes, plan.calls / 2).median_us);
  };
  const auto hooks_alone = [&] {
    const EmptyHooks hooks(node.cgroup());
    phase(kEmpty);
  };
  for (int cycle = 0; cycle < plan.cycles; ++cycle) {
    plan.progress("unenrolled process, agent on and off: cycle " + std::to_string(cycle + 1) + " of " +
                  std::to_string(plan.cycles));
    if (cycle % 2 == 0) {
      phase(kOn);
      node.agent_off();
      phase(kOff);
      hooks_alone();
    } else {
      hooks_alone();
      phase(kOff);
      node.agent_on();
      phase(kOn);
    }
  }
  if (plan.cycles % 2 == 1) node.agent_on();
  correct_by_control(rows);
  return rows;
}

std::vector<Row> measure_memory(const Node& node) {
  Row row{
      .group = "memory", .title = "memory of the agent", .conditions = "4 enrolled pods, after the run", .unit = "MiB"};
  row.of("resident") = {node.agent_rss_mib()};
  row.of("BPF maps") = {node.maps_mib()};
  return {row};
}

}  // namespace underpass::bench
