// SPDX-License-Identifier: Apache-2.0
// The rows of a large cluster: 10,000 Services and 100,000 endpoints. How long an agent needs for them at its start,
// what it then is in memory, and what one change of an EndpointSlice costs it.
#include <poll.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <stdexcept>
#include <string>

#include "test/bench/rows.h"
#include "test/bench/service_objects.h"
#include "test/bench/syscall_count.h"
#include "test/support/agent.h"
#include "test/support/files.h"
#include "test/support/pinned.h"
#include "test/support/service_tables.h"

namespace underpass::bench {
namespace {

using test::Clock;
using Kind = Bound::Kind;

constexpr int kFiles = 1000;
constexpr std::size_t kServices = std::size_t{kFiles} * kServicesOfFile;
constexpr std::size_t kSlots = kServices * kEndpointsOfService;
constexpr int kChanges = 50;

double seconds_since(Clock::time_point begin) { return Seconds(Clock::now() - begin).count(); }

// CPU time of all threads of a process, those that ended included.
double cpu_ms(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0)
    throw std::runtime_error("no CPU clock of process " + std::to_string(pid));
  return static_cast<double>(used.tv_sec) * 1e3 + static_cast<double>(used.tv_nsec) / 1e6;
}

double rss_mib(pid_t pid) {
  const std::string text = test::read_file("/proc/" + std::to_string(pid) + "/status");
  return std::stod(text.substr(text.find("VmRSS:") + 6)) / 1024;
}

class Cluster {
 public:
  Cluster() {
    for (int i = 0; i < kFiles; ++i) put_services(objects_, i);
  }

  // Starts the agent on empty maps; how many seconds until everything is in them.
  double load() {
    const auto begin = Clock::now();
    agent_.launch();
    const bool there = test::eventually(test::seconds(120), [&] {
      if (!agent_.running()) throw std::runtime_error("underpassd ended: " + agent_.log());
      return test::fs::exists(sandbox_.pins() / "up_nodes") && holds_last() && holds_all();
    });
    if (!there) throw std::runtime_error("not everything came into the maps: " + agent_.log());
    return seconds_since(begin);
  }

  [[nodiscard]] pid_t pid() const { return agent_.pid(); }
  // One endpoint of one Service becomes another; waits until connect() finds it.
  void change(int version) {
    const test::ServiceTables tables(sandbox_);
    const auto first = test::Address::of(first_address(0), 80);
    const auto before = tables.slots(first);
    put_services(objects_, 0, version);
    if (!test::eventually(test::seconds(5), [&] { return tables.slots(first) != before; }))
      throw std::runtime_error("a change does not come into the maps: " + agent_.log());
  }

 private:
  // A cheap look, so that the measurement does not take the agent's time.
  [[nodiscard]] bool holds_last() const {
    const test::ServiceTables tables(sandbox_);
    return tables.service(test::Address::of(last_address(kFiles - 1), 80)).has_value();
  }
  [[nodiscard]] bool holds_all() const {
    return pinned_.entries("up_services") == kServices && pinned_.entries("up_backends") == kSlots;
  }

  test::Sandbox sandbox_;
  test::Objects objects_{sandbox_.objects()};
  test::Agent agent_{sandbox_};
  test::Pinned pinned_{sandbox_};
};

struct Cost {
  double cpu_ms = 0;
  double writes = 0;
};

Cost used_while(pid_t pid, const std::function<void()>& what) {
  const MapWrites writes(pid);
  const double before = cpu_ms(pid);
  what();
  return {.cpu_ms = cpu_ms(pid) - before, .writes = static_cast<double>(writes.count())};
}

// Per change, net of what the agent uses in the same time without one.
Cost measure_changes(Cluster& cluster) {
  const auto begin = Clock::now();
  const Cost busy = used_while(cluster.pid(), [&] {
    for (int i = 0; i < kChanges; ++i) cluster.change(i + 1);
  });
  const auto duration = std::chrono::duration_cast<test::milliseconds>(Clock::now() - begin);
  const Cost idle =
      used_while(cluster.pid(), [&] { ::poll(nullptr, 0, static_cast<int>(duration.count())); });  // nothing happens
  return {.cpu_ms = (busy.cpu_ms - idle.cpu_ms) / kChanges, .writes = (busy.writes - idle.writes) / kChanges};
}

// A row of one series against a number rather than another variant.
Row bounded_row(const std::string& title, const std::string& conditions, const std::string& unit, double most) {
  Row row{.group = "services-scale", .title = title, .conditions = conditions, .unit = unit};
  row.series = {{"agent", {}}, {"bound", {}}};
  row.comparisons = {{"agent", "bound", Bound{Kind::kAtMost, 1.0}}};
  row.note = "The bound is what is asked for: " + std::to_string(static_cast<int>(most)) + " " + unit + ".";
  return row;
}

void add(Row& row, double value, double most) {
  row.of("agent").push_back(value);
  row.of("bound").push_back(most);
}

}  // namespace

std::vector<Row> measure_service_scale(const Plan& plan) {
  constexpr double kLoadSeconds = 10, kMemoryMib = 150, kChangeMs = 2;
  const int rounds = std::min(plan.rounds, 3);
  const std::string all = "10,000 Services, 100,000 endpoints, 1,000 files, " + std::to_string(rounds) + " agents";
  const std::string changes = all + ", mean of " + std::to_string(kChanges) + " changes of one slice, net of idling";
  Row load = bounded_row("from the start of the agent until all Services are in the maps", all, "s", kLoadSeconds);
  Row memory = bounded_row("resident memory of the agent", all, "MiB", kMemoryMib);
  Row cpu = bounded_row("CPU time of one change of an EndpointSlice", changes, "ms", kChangeMs);
  Row writes{.group = "services-scale", .title = "map writes of one change", .conditions = changes, .unit = "calls"};
  for (int round = 1; round <= rounds; ++round) {
    plan.progress("10,000 Services: agent " + std::to_string(round) + " of " + std::to_string(rounds));
    Cluster cluster;
    add(load, cluster.load(), kLoadSeconds);
    const Cost change = measure_changes(cluster);
    add(cpu, change.cpu_ms, kChangeMs);
    writes.of("agent").push_back(change.writes);
    add(memory, rss_mib(cluster.pid()), kMemoryMib);
  }
  return {load, memory, cpu, writes};
}

}  // namespace underpass::bench
