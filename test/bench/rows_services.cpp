// SPDX-License-Identifier: Apache-2.0
// The rows of connections through a Service: against a pod without a mesh, and with few and with many other Services.
#include <sys/socket.h>

#include "test/bench/connect_rate.h"
#include "test/bench/rows.h"
#include "test/bench/slices.h"

namespace underpass::bench {
namespace {

using Kind = Bound::Kind;

constexpr int kFew = 10;
constexpr int kMany = 10'000;
constexpr const char* kWithFew = "10 Services";
constexpr const char* kWithMany = "10,000 Services";
constexpr double kMost = 1.10;

std::string count_text(const Plan& plan) {
  return std::to_string(plan.connections) + " × " + std::to_string(plan.rounds);
}

// Many short slices: what is looked for is a few µs, and the CPU's speed wavers by more than that.
Plan finer(Plan plan) {
  plan.rounds *= 5;
  plan.connections /= 4;
  return plan;
}

// The time to the first byte, and the rate of whole connections, of the same slices.
std::vector<Row> measure_first_bytes(const Node& node, const Plan& plan) {
  const Node::Cpus cpus{plan.first_cpu, plan.first_cpu};
  using Mode = Node::Mode;
  std::vector<Pair> pairs{node.direct(cpus), node.through_service(cpus, Mode::kOff),
                          node.through_service(cpus, Mode::kOn)};
  if (node.auto_problem().empty()) pairs.push_back(node.through_service(cpus, Mode::kAuto));
  pairs[0].port = pairs[1].port;  // so that it closes in the same way
  const std::string conditions =
      cpus_text(cpus) + ", ClusterIP with 1 backend, one connection after the other, " + count_text(plan);
  Row times{.group = "services", .title = "connect + first byte", .conditions = conditions, .unit = "µs"};
  Row rates{.group = "services",
            .title = "connect, 1 byte each way, reset, through a Service",
            .conditions = conditions,
            .unit = "1/s"};
  in_rounds(times, pairs, plan, [&](const Pair& pair) {
    // In mode auto one in sixteen is short-circuited, to see whether connections are still as brief.
    const bool all_one_way = !pair.service.empty() && pair.variant != "Service, auto";
    const up_way way = pair.variant == "Service, on" ? UP_WAY_SHORT_CIRCUIT : UP_WAY_DIRECT;
    const ConnectRate rate =
        all_one_way ? checked_connects(node, pair, way, plan.connections) : measure_connects(pair, plan.connections);
    rates.of(pair.variant).push_back(rate.per_second);
    return rate.first_byte_us;
  });
  for (const Pair& pair : pairs) {
    if (pair.service.empty()) continue;
    times.comparisons.push_back({pair.variant, "direct", std::nullopt, Bound{Kind::kAtMost, kMost}});
    // 1.10 times the time is 0.91 times the rate.
    rates.comparisons.push_back({pair.variant, "direct", std::nullopt, Bound{Kind::kAtLeast, 0.91}});
  }
  return {times, rates};
}

Row call_row(const Plan& plan, const std::string& title) {
  Row row{.group = "services",
          .title = title,
          .conditions = "enrolled, off, both on CPU " + std::to_string(plan.first_cpu) + ", " + count_text(plan) +
                        ", each other Service with 10 endpoints",
          .unit = "µs",
          .series = {{kWithFew, {}}, {kWithMany, {}}}};
  row.comparisons = {{kWithMany, kWithFew, Bound{Kind::kAtMost, kMost}}};
  return row;
}

// Few many, many few, few many …: loading takes longer than measuring, and a steady drift cancels out.
std::vector<Row> measure_calls(Node& node, const Plan& plan) {
  Row tcp = call_row(plan, "connect() through a Service, TCP");
  Row udp = call_row(plan, "connect() through a Service, UDP");
  const Pair pair = node.through_service({plan.first_cpu, plan.first_cpu}, Node::Mode::kOff);
  const auto phase = [&](bool many) {
    node.have_services(many ? kMany : kFew);
    const char* variant = many ? kWithMany : kWithFew;
    tcp.of(variant).push_back(measure_connect_call(pair, SOCK_STREAM, plan.connections));
    udp.of(variant).push_back(measure_connect_call(pair, SOCK_DGRAM, plan.connections));
  };
  for (int round = 1; round <= plan.rounds; ++round) {
    plan.progress("connect() with few and many Services: round " + std::to_string(round) + " of " +
                  std::to_string(plan.rounds));
    const bool many_first = round % 2 == 0;
    phase(many_first);
    phase(!many_first);
  }
  node.have_services(0);
  return {tcp, udp};
}

}  // namespace

std::vector<Row> measure_services(Node& node, const Plan& plan) {
  std::vector<Row> rows = measure_first_bytes(node, finer(plan));
  for (Row& row : measure_calls(node, plan)) rows.push_back(std::move(row));
  return rows;
}

}  // namespace underpass::bench
