// SPDX-License-Identifier: Apache-2.0
// The rows of a large cluster: 10,000 Services and 100,000 endpoints. How long an agent needs for them at its start,
// what it then is in memory, and what one change of an EndpointSlice costs it.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "test/bench/agent_cost.h"
#include "test/bench/rows.h"
#include "test/bench/service_objects.h"
#include "test/support/agent.h"
#include "test/support/files.h"
#include "test/support/pinned.h"
#include "test/support/service_tables.h"

namespace underpass::bench {
namespace {

using test::Clock;

constexpr const char* kGroup = "services-scale";
constexpr int kFiles = 1000;
constexpr std::size_t kServices = std::size_t{kFiles} * kServicesOfFile;
constexpr std::size_t kSlots = kServices * kEndpointsOfService;
constexpr int kChanges = 50;

double seconds_since(Clock::time_point begin) { return Seconds(Clock::now() - begin).count(); }

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

}  // namespace

std::vector<Row> measure_service_scale(const Plan& plan) {
  constexpr double kLoadSeconds = 10, kMemoryMib = 150, kChangeMs = 2;
  const int rounds = std::min(plan.rounds, 3);
  const std::string all = "10,000 Services, 100,000 endpoints, 1,000 files, " + std::to_string(rounds) + " agents";
  const std::string changes = all + ", mean of " + std::to_string(kChanges) + " changes of one slice, net of idling";
  Row load =
      bounded_row(kGroup, "from the start of the agent until all Services are in the maps", all, "s", kLoadSeconds);
  Row memory = bounded_row(kGroup, "resident memory of the agent", all, "MiB", kMemoryMib);
  Row cpu = bounded_row(kGroup, "CPU time of one change of an EndpointSlice", changes, "ms", kChangeMs);
  Row writes{.group = kGroup, .title = "map writes of one change", .conditions = changes, .unit = "calls"};
  for (int round = 1; round <= rounds; ++round) {
    plan.progress("10,000 Services: agent " + std::to_string(round) + " of " + std::to_string(rounds));
    Cluster cluster;
    add_bounded(load, cluster.load(), kLoadSeconds);
    const AgentCost change = cost_of_changes(cluster.pid(), kChanges, [&](int i) { cluster.change(i + 1); });
    add_bounded(cpu, change.cpu_ms, kChangeMs);
    writes.of("agent").push_back(change.writes);
    add_bounded(memory, rss_mib(cluster.pid()), kMemoryMib);
  }
  return {load, memory, cpu, writes};
}

}  // namespace underpass::bench
