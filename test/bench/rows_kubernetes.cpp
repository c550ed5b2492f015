// SPDX-License-Identifier: Apache-2.0
// What a cluster costs one of its agents: the whole agent of one node of a hundred, while pods all over the cluster
// change. The API server is that of the tests.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "test/bench/agent_cost.h"
#include "test/bench/cluster_objects.h"
#include "test/bench/rows.h"
#include "test/support/agent.h"
#include "test/support/ctl.h"
#include "test/support/files.h"
#include "test/support/sandbox.h"

namespace underpass::bench {
namespace {

using test::Clock;

constexpr const char* kGroup = "kubernetes";
constexpr int kRate = 50;  // changes a second
constexpr int kSeconds = 20;
constexpr double kMiB = 1024;

// The agent of one of the nodes, whose pods are objects alone, and in no mesh.
class NodeAgent {
 public:
  explicit NodeAgent(test::FakeApi& api)
      : agent_(sandbox_, {.node = "node-17",
                          .source = "kubernetes",
                          .more = {"--kubeconfig", api.kubeconfig(sandbox_.root()), "--cni", "off"}}) {
    agent_.start();
    wait_for_namespaces(kClusterNamespaces);
  }

  [[nodiscard]] pid_t pid() const { return agent_.pid(); }
  // That it has so many, and with them all that was changed before.
  void wait_for_namespaces(std::uint64_t count) const {
    const auto known = [&]() -> std::uint64_t {
      const auto status = ctl_.json({"status"});
      for (const auto& kind : status.at("source").at("kinds").as_array())
        if (kind.at("kind") == "Namespace") return kind.at("objects").to_number<std::uint64_t>();
      return 0;
    };
    if (!test::eventually(test::seconds(60), [&] { return known() == count; }))
      throw std::runtime_error("the agent does not get there: " + agent_.log());
  }
  // "VmRSS", "VmHWM".
  [[nodiscard]] double memory_mib(const std::string& field) const {
    std::istringstream lines(test::read_file("/proc/" + std::to_string(pid()) + "/status"));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(field + ":")) return std::stod(line.substr(field.size() + 1)) / kMiB;
    }
    throw std::runtime_error("no " + field);
  }

 private:
  test::Sandbox sandbox_;
  test::Agent agent_;
  test::Ctl ctl_{sandbox_};
};

Row row_of(const std::string& title, const std::string& unit, int rounds) {
  return {.group = kGroup,
          .title = title,
          .conditions = "2,000 pods on 100 nodes, 200 Services; " + std::to_string(kRate) +
                        " times a second a pod and its slice change, " + std::to_string(kSeconds) + " s × " +
                        std::to_string(rounds) + "; one agent",
          .unit = unit};
}

}  // namespace

std::vector<Row> measure_kubernetes(const Plan& plan) {
  const int rounds = std::min(plan.rounds, 3);
  Row cpu = row_of("CPU time of one agent for one change in the cluster", "µs", rounds);
  Row memory = row_of("resident memory, after the changes", "MiB", rounds);
  Row peak = row_of("... at its highest", "MiB", rounds);
  Row requests = row_of("requests to the API server for one change", "1", rounds);
  Row first = row_of("requests to the API server at the start", "1", rounds);
  for (int round = 1; round <= rounds; ++round) {
    plan.progress("a cluster that changes: round " + std::to_string(round) + " of " + std::to_string(rounds));
    test::FakeApi api;
    put_cluster(api);
    NodeAgent agent(api);
    if (!test::eventually(test::seconds(10), [&] { return api.open_watches() >= 9; })) {
      throw std::runtime_error("the agent does not watch");
    }
    first.of("agent").push_back(static_cast<double>(api.count("")));
    api.forget_requests();
    const auto begin = Clock::now();
    const AgentCost cost = cost_of_changes(agent.pid(), kRate * kSeconds, [&](int i) {
      std::this_thread::sleep_until(begin + i * std::chrono::milliseconds(1000 / kRate));
      change_cluster(api, i);
      if (i + 1 < kRate * kSeconds) return;
      put_namespace(api, "done");
      agent.wait_for_namespaces(kClusterNamespaces + 1);
    });
    cpu.of("agent").push_back(cost.cpu_ms * 1000);
    requests.of("agent").push_back(static_cast<double>(api.count("")) / (kRate * kSeconds));
    memory.of("agent").push_back(agent.memory_mib("VmRSS"));
    peak.of("agent").push_back(agent.memory_mib("VmHWM"));
  }
  return {cpu, memory, peak, requests, first};
}

}  // namespace underpass::bench
