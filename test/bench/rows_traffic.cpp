// SPDX-License-Identifier: Apache-2.0
// The rows of payload that moves between two pods: round trip, bulk, connections, HTTP.
#include <list>
#include <sstream>
#include <stdexcept>

#include "test/bench/bulk.h"
#include "test/bench/connect_rate.h"
#include "test/bench/round_trip.h"
#include "test/bench/rows.h"
#include "test/bench/slices.h"
#include "test/bench/way_check.h"
#include "test/bench/web.h"
#include "underpass/abi_names.h"

namespace underpass::bench {
namespace {

using Kind = Bound::Kind;

std::string size_text(std::size_t bytes) {
  return bytes < 1024 ? std::to_string(bytes) + " B" : std::to_string(bytes / 1024) + " KB";
}

std::vector<Pair> four_ways(const Node& node, Node::Cpus cpus) {
  std::vector<Pair> pairs{node.direct(cpus), node.loopback(cpus), node.unix_socket(cpus), node.learned(cpus)};
  for (Pair& pair : pairs) pair.wait = Wait::kInEpoll;
  return pairs;
}

std::vector<Pair> four_sleeping_ways(const Node& node, Node::Cpus cpus) {
  return {node.direct(cpus), node.loopback(cpus), node.unix_socket(cpus), node.short_circuit(cpus)};
}

}  // namespace

void Plan::make_quick() {
  rounds = 3;
  rtt = Seconds(0.15);
  bulk = Seconds(0.2);
  connections = 500;
  wrk = Seconds(1);
  cycles = 3;
  calls = Seconds(0.4);
}

std::vector<Row> measure_round_trips(const Node& node, const Plan& plan, Trips trips) {
  const bool same_cpu = trips != Trips::kTwoCpus, asleep = trips == Trips::kAsleep;
  const std::string suffix = same_cpu ? asleep ? ", asleep in recv()" : "" : ", two CPUs";
  const Node::Cpus cpus{plan.first_cpu, same_cpu ? plan.first_cpu : plan.second_cpu};
  std::vector<Row> rows;
  for (const std::size_t bytes : {64UZ, 1024UZ, 16384UZ}) {
    Row row{.group = same_cpu ? asleep ? "rtt-sleep" : "rtt" : "rtt-2cpu",
            .title = "round trip, " + size_text(bytes) + suffix,
            .conditions = cpus_text(cpus) +
                          (asleep ? ", mode on, 1 connection, recv(), " : ", 1 connection, epoll_wait() and recv(), ") +
                          size_text(bytes) + " each way, " + seconds_text(plan.rtt, plan.rounds),
            .unit = "µs"};
    WayCheck way(node);
    in_rounds(row, asleep ? four_sleeping_ways(node, cpus) : four_ways(node, cpus), plan,
              [&](const Pair& pair) { return measure_round_trip(pair, bytes, plan.rtt, way.watch(pair)).median_us; });
    // The targets are stated for one CPU; between two the wake-up of the other one is most of the time.
    if (same_cpu) {
      row.comparisons = {{"short-circuit", "direct", Bound{Kind::kAtMost, 0.60}, Bound{Kind::kAtMost, 0.55}},
                         {"short-circuit", "unix", std::nullopt, Bound{Kind::kAtMost, 1.15}},
                         {"loopback", "direct"}};
    } else {
      row.comparisons = {{"short-circuit", "direct"}, {"short-circuit", "unix"}, {"loopback", "direct"}};
    }
    row.note = way.note();
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Row> measure_bulks(const Node& node, const Plan& plan) {
  const Node::Cpus cpus{plan.first_cpu, plan.second_cpu};
  std::vector<Row> rows;
  for (const std::size_t bytes : {1024UZ, 65536UZ}) {
    Row row{.group = "bulk",
            .title = "bulk, " + size_text(bytes) + " writes",
            .conditions = cpus_text(cpus) + ", 1 connection, reads of " + size_text(kBulkReadBytes) + ", " +
                          seconds_text(plan.bulk, plan.rounds),
            .unit = "Gbit/s"};
    WayCheck way(node);
    in_rounds(row, four_ways(node, cpus), plan,
              [&](const Pair& pair) { return measure_bulk(pair, bytes, plan.bulk, way.watch(pair)); });
    row.comparisons = {{"short-circuit", "direct"}, {"short-circuit", "unix"}, {"loopback", "direct"}};
    if (bytes == 65536) {
      row.comparisons[0].target = Bound{Kind::kAtLeast, 1.0};
      row.comparisons[0].goal = Bound{Kind::kAtLeast, 1.2};
    }
    row.note = way.note();
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Row> measure_connects(const Node& node, const Plan& plan) {
  const Node::Cpus cpus{plan.first_cpu, plan.first_cpu};
  Row row{.group = "connect",
          .title = "connect, 1 byte each way, close",
          .conditions = cpus_text(cpus) + ", one connection after the other, " + std::to_string(plan.connections) +
                        " × " + std::to_string(plan.rounds),
          .unit = "1/s"};
  in_rounds(row, {node.direct(cpus), node.enrolled_tcp(cpus), node.short_circuit(cpus)}, plan, [&](const Pair& pair) {
    if (pair.variant == "direct") return measure_connect_rate(pair, plan.connections);
    const up_way way = pair.variant == "short-circuit" ? UP_WAY_SHORT_CIRCUIT : UP_WAY_DIRECT;
    return checked_connects(node, pair, way, plan.connections).per_second;
  });
  // 1.10 times the time is 0.91 times the rate.
  row.comparisons = {{"short-circuit", "direct", std::nullopt, Bound{Kind::kAtLeast, 0.91}},
                     {"enrolled, off", "direct", std::nullopt, Bound{Kind::kAtLeast, 0.91}}};
  return {row};
}

std::vector<Row> measure_web(const Node& node, const Plan& plan) {
  const Node::Cpus cpus{plan.first_cpu, plan.second_cpu};
  Row row{.group = "wrk",
          .title = "wrk → nginx, HTTP/1.1 keep-alive",
          .conditions = "wrk CPU " + std::to_string(cpus.client) + " with 1 thread, nginx CPU " +
                        std::to_string(cpus.server) + " with 1 worker, " + std::to_string(kWrkConnections) +
                        " connections, " + std::to_string(kWebBodyBytes) + " B body, " +
                        seconds_text(plan.wrk, plan.rounds),
          .unit = "req/s"};
  const std::vector<Pair> pairs{node.direct(cpus), node.learned(cpus)};
  std::list<WebServer> servers;
  WayCheck way(node);
  for (const Pair& pair : pairs) {
    plan.progress(row.title + ": " + pair.variant + " warms up");
    servers.emplace_back(pair, node.folder() / pair.variant);
    measure_requests(pair, Seconds(1), way.watch(pair));
  }
  in_rounds(row, pairs, plan, [&](const Pair& pair) { return measure_requests(pair, plan.wrk).per_second; });
  row.comparisons = {{"short-circuit", "direct", Bound{Kind::kAtLeast, 1.6}, Bound{Kind::kAtLeast, 1.8}}};
  row.note = way.note();
  return {row};
}

}  // namespace underpass::bench
