// SPDX-License-Identifier: Apache-2.0
// The rows of policy: connect() to a pod for which a thousand policies are in force, and what a change costs the agent.
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "test/bench/agent_cost.h"
#include "test/bench/connect_rate.h"
#include "test/bench/policy_objects.h"
#include "test/bench/rows.h"
#include "test/bench/slices.h"

namespace underpass::bench {
namespace {

using test::Clock;

constexpr const char* kGroup = "policies";
constexpr int kPolicies = 1000;
constexpr const char* kWith = "1,000 policies";
constexpr const char* kWithout = "no policy";
constexpr double kMost = 1.10;

Row call_row(const Plan& plan, const std::string& title, const std::string& who) {
  return {.group = kGroup,
          .title = title,
          .conditions = who + ", both on CPU " + std::to_string(plan.first_cpu) + ", " +
                        std::to_string(plan.connections) + " × " + std::to_string(plan.rounds) +
                        ", let in by the last policy",
          .unit = "µs",
          .series = {{kWithout, {}}, {kWith, {}}},
          .comparisons = {{kWith, kWithout, Bound{Bound::Kind::kAtMost, kMost}}}};
}

// Many short slices, in pairs side by side: what is looked for is less than a µs.
std::vector<Row> measure_calls(Node& node, Plan plan) {
  plan.rounds *= 3;
  plan.connections /= 2;
  const Node::Cpus cpus{plan.first_cpu, plan.first_cpu};
  Row enrolled = call_row(plan, "connect() to an enrolled pod", "enrolled client");
  Row stranger = call_row(plan, "connect() to an enrolled pod from outside the mesh", "client that is not enrolled");
  const Pair own = node.learned(cpus), other = node.from_outside(cpus);
  const auto phase = [&](bool with) {
    node.have_policies(with ? kPolicies : 0);
    const char* variant = with ? kWith : kWithout;
    enrolled.of(variant).push_back(measure_connect_call(own, SOCK_STREAM, plan.connections));
    stranger.of(variant).push_back(measure_connect_call(other, SOCK_STREAM, plan.connections));
  };
  for (int round = 1; round <= plan.rounds; ++round) {
    plan.progress("connect() with and without policies: round " + std::to_string(round) + " of " +
                  std::to_string(plan.rounds));
    const bool with_first = round % 2 == 0;
    phase(with_first);
    phase(!with_first);
  }
  node.have_policies(0);
  return {enrolled, stranger};
}

// Nothing is short-circuited there: the other agent has the machine's watchpoints.
const test::Settings kPlain{.mesh = "enabled", .short_circuit = "off"};
constexpr int kPods = 100;
constexpr int kChanges = 20;

// A node with a hundred pods of one namespace, and an agent of its own.
class Namespace {
 public:
  Namespace() {
    for (int i = 0; i < kPods; ++i) {
      const std::string name = "pod-" + std::to_string(i);
      world_.net.add(name);
      test::PodObject pod = world_.pod_object("many", name);
      pod.labels = {{"pod", name}};
      world_.objects.put(pod);
      cookies_.push_back(world_.net.cookie(name));
    }
    world_.objects.put(test::NamespaceObject{"many", kPlain});
    wait("pods are not enrolled", [&](std::uint64_t cookie) { return world_.pinned.pod(cookie).has_value(); });
  }

  [[nodiscard]] pid_t pid() const { return world_.agent.pid(); }

  // A policy for all of them, where there was none.
  void first_policy() {
    put(0, 0);
    wait("the policy is not in force", [&](std::uint64_t cookie) { return set_of(cookie) != 0; });
  }
  void no_policy() {
    world_.objects.remove_text(file_of(0));
    wait("the policy is still in force", [&](std::uint64_t cookie) { return set_of(cookie) == 0; });
  }
  // `own`: one of the thousand is for each pod alone, so that each has a set of its own.
  void load(bool own) {
    for (int i = 0; i < kPolicies; ++i)
      put(i, 0, own && i < kPods ? R"({"pod": "pod-)" + std::to_string(i) + R"("})" : std::string());
    wait("the policies are not in force", [&](std::uint64_t cookie) {
      const auto set = set_of(cookie);
      return set != 0 && world_.pinned.clauses_of(set) == kPolicies - (own ? kPods - 1 : 0);
    });
  }
  // One that is for all of them names somebody else; until it is in force for all.
  void change(int version) {
    std::map<std::uint64_t, std::uint32_t> before;
    for (const auto cookie : cookies_) before.emplace(cookie, set_of(cookie));
    put(kPolicies - 2 - 4 * (version % 4), version + 1);  // of addresses: names that nobody here has change no bit
    wait("a change is not in force", [&](std::uint64_t cookie) { return set_of(cookie) != before.at(cookie); });
  }

 private:
  static std::string file_of(int number) { return "policy-" + std::to_string(number) + ".yaml"; }
  void put(int number, int version, const std::string& labels = "") const {
    world_.objects.put_text(file_of(number), policy_text("many", number, version, labels));
  }
  [[nodiscard]] std::uint32_t set_of(std::uint64_t cookie) const {
    const auto pod = world_.pinned.pod(cookie);
    return pod ? pod->policy : 0;
  }
  // Looks at one pod that is not so yet, so that looking does not take the agent's time.
  template <typename Is>
  void wait(const std::string& problem, Is is) {
    const auto deadline = Clock::now() + test::seconds(60);
    for (const auto cookie : cookies_) {
      while (!is(cookie)) {
        if (Clock::now() > deadline) throw std::runtime_error(problem + ": " + world_.agent.log());
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
    }
  }

  test::World world_{kPlain, "ready", {.watchpoints = "never"}};
  std::vector<std::uint64_t> cookies_;
};

std::vector<Row> measure_agent(const Plan& plan) {
  constexpr double kBound = 100;
  const int rounds = std::max(3, std::min(plan.rounds, 5));
  const std::string of_pods = "100 pods of one namespace, " + std::to_string(rounds) + " agents";
  const std::string changes = ", mean of " + std::to_string(kChanges) + " changes of one that is for all pods";
  Row first = bounded_row(kGroup, "from the first policy's file until it is in force for all", of_pods, "ms", kBound);
  std::vector<Row> rows;
  for (const char* sets : {"one set for all", "a set for each pod"}) {
    const std::string conditions = "1,000 policies, " + of_pods + ", " + sets + changes;
    rows.push_back(bounded_row(kGroup, "from one policy's change until it is in force", conditions, "ms", kBound));
    rows.push_back({.group = kGroup, .title = "... CPU time of the agent", .conditions = conditions, .unit = "ms"});
    rows.push_back({.group = kGroup, .title = "... map writes", .conditions = conditions, .unit = "calls"});
  }
  for (int round = 1; round <= rounds; ++round) {
    plan.progress("1,000 policies and 100 pods: agent " + std::to_string(round) + " of " + std::to_string(rounds));
    Namespace pods;
    add_bounded(first, cost_while(pods.pid(), [&] { pods.first_policy(); }).wall_ms, kBound);
    pods.no_policy();
    for (const bool own : {false, true}) {
      pods.load(own);
      const AgentCost change = cost_of_changes(pods.pid(), kChanges, [&](int i) { pods.change(i); });
      const std::size_t at = own ? 3 : 0;
      add_bounded(rows[at], change.wall_ms, kBound);
      rows[at + 1].of("agent").push_back(change.cpu_ms);
      rows[at + 2].of("agent").push_back(change.writes);
    }
  }
  rows.insert(rows.begin(), std::move(first));
  return rows;
}

}  // namespace

std::vector<Row> measure_policies(Node& node, const Plan& plan) {
  std::vector<Row> rows = measure_calls(node, plan);
  std::ranges::move(measure_agent(plan), std::back_inserter(rows));
  return rows;
}

}  // namespace underpass::bench
