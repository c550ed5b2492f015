// SPDX-License-Identifier: Apache-2.0
// The rows of connections whose bytes a worker does not look into: against haproxy as a TCP relay, against no relay at
// all, and with its legs short-circuited.
#include "test/bench/many.h"
#include "test/bench/relay_rows.h"
#include "test/bench/round_trip.h"
#include "test/bench/rows.h"
#include "test/bench/slices.h"

namespace underpass::bench {
namespace {

using Kind = Bound::Kind;

constexpr const char* kGroup = "proxy";
constexpr int kBulks = 8;
constexpr std::size_t kWriteBytes = 65536;
constexpr int kAtOnce = 16;
constexpr int kIdle = 2000;

std::vector<Pair> all_of(const Relays& relays) {
  return {relays.direct(), relays.haproxy(), relays.haproxy_in_mesh(), relays.worker(), relays.short_circuit()};
}

std::vector<Row> measure_row(const Relays& relays, const Plan& plan, Row row, const std::string& of_what,
                             const std::vector<Pair>& pairs, const std::function<Slice(const Pair&)>& slice) {
  const Bound target = row.unit == "µs" ? Bound{Kind::kAtMost, 1.0} : Bound{Kind::kAtLeast, 1.0};
  row.comparisons = {{"worker", "haproxy", target}, {"worker", "haproxy in mesh"}, {"worker", "direct"},
                     {"worker, on", "haproxy"},     {"worker, on", "worker"},      {"haproxy", "direct"}};
  return measure_relays(relays, plan, std::move(row), of_what, pairs, slice);
}

std::vector<Row> measure_bulk_row(const Relays& relays, const Plan& plan) {
  return measure_row(relays, plan,
                     {.group = kGroup,
                      .title = "through a relay, bulk, 64 KB writes",
                      .conditions = relays.cpus_text() + ", " + std::to_string(kBulks) + " connections, " +
                                    seconds_text(plan.bulk, plan.rounds),
                      .unit = "Gbit/s"},
                     "of a MiB", all_of(relays), [&](const Pair& pair) -> Slice {
                       const double rate = measure_many_bulks(pair, kBulks, kWriteBytes, plan.bulk);
                       return {rate, rate * 1e9 / 8 / (1 << 20) * plan.bulk.count() * 1.3};
                     });
}

std::vector<Row> measure_connect_row(const Relays& relays, const Plan& plan) {
  const int connections = plan.connections * 2;
  return measure_row(relays, plan,
                     {.group = kGroup,
                      .title = "through a relay: connect, 1 byte each way, close",
                      .conditions = relays.cpus_text() + ", " + std::to_string(kAtOnce) +
                                    " at once, tcp_tw_reuse, ports 1024-65000, " + std::to_string(connections) + " × " +
                                    std::to_string(plan.rounds),
                      .unit = "1/s"},
                     "of a connection", all_of(relays), [&](const Pair& pair) -> Slice {
                       return {measure_many_connects(pair, kAtOnce, connections), connections * 1.1};
                     });
}

std::vector<Row> measure_trip_row(const Relays& relays, const Plan& plan) {
  return measure_row(relays, plan,
                     {.group = kGroup,
                      .title = "through a relay: round trip, 64 B",
                      .conditions = relays.cpus_text() + ", 1 connection, epoll_wait() and recv(), " +
                                    seconds_text(plan.rtt, plan.rounds),
                      .unit = "µs"},
                     "of a round trip", all_of(relays), [&](Pair pair) -> Slice {
                       pair.wait = Wait::kInEpoll;
                       const RoundTrip trip = measure_round_trip(pair, 64, plan.rtt);
                       return {trip.median_us, static_cast<double>(trip.count) * 1.2};
                     });
}

// Connections that stand, and nothing happens on.
Row measure_memory_row(const Relays& relays) {
  Row row{.group = kGroup,
          .title = "memory of a worker",
          .conditions = "1 thread, 2 pods; " + std::to_string(kIdle) + " idle connections after a byte each way",
          .unit = "KiB"};
  row.series = {{"idle", {}}, {"connection", {}}, {"idle may be", {12 * 1024}}, {"it may be", {10}}};
  row.comparisons = {{"idle", "idle may be", Bound{Kind::kAtMost, 1.0}},
                     {"connection", "it may be", Bound{Kind::kAtMost, 1.0}}};
  const double before = relays.worker_rss_kib();
  row.of("idle") = {before};
  const Pair pair = relays.worker();
  const up_stats stats = relays.stats();
  with_idle_connections(pair, kIdle, [&] {
    relays.check_way(pair, stats);
    row.of("connection") = {(relays.worker_rss_kib() - before) / kIdle};
  });
  return row;
}

}  // namespace

std::vector<Row> measure_proxy(const Plan& plan) {
  const Relays relays(plan.first_cpu, plan.second_cpu, Relays::Speak::kTcp);
  std::vector<Row> rows{measure_memory_row(relays)};
  for (const auto& measure : {measure_bulk_row, measure_connect_row, measure_trip_row})
    for (Row& row : measure(relays, plan)) rows.push_back(std::move(row));
  return rows;
}

}  // namespace underpass::bench
