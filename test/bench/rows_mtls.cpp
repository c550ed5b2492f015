// SPDX-License-Identifier: Apache-2.0
// The rows between two nodes: two workers that speak HBONE to each other against two haproxies with mutual TLS, in the
// same rounds; and what a new connection through a tunnel that stands costs over one that two workers relay plainly.
#include <list>

#include "test/bench/connect_rate.h"
#include "test/bench/many.h"
#include "test/bench/rows.h"
#include "test/bench/sidecars.h"
#include "test/bench/slices.h"
#include "test/bench/web.h"

namespace underpass::bench {
namespace {

using Kind = Bound::Kind;

constexpr const char* kGroup = "mtls";
constexpr int kBulks = 8;
constexpr std::size_t kWriteBytes = 65536;

std::vector<Row> measure_requests_row(const Sidecars& sidecars, const Plan& plan) {
  const std::vector<Pair> pairs{sidecars.direct(), sidecars.haproxies(), sidecars.workers(), sidecars.plain_workers()};
  std::list<WebServer> servers;
  for (const Pair& pair : pairs)
    if (pair.service.empty()) servers.emplace_back(pair, sidecars.folder() / pair.variant);
  Row row{.group = kGroup,
          .title = "between nodes, wrk → nginx, HTTP/1.1 keep-alive, mTLS",
          .conditions = sidecars.cpus_text() + ", " + std::to_string(kWrkConnections) + " connections, " +
                        std::to_string(kWebBodyBytes) + " B body, " + seconds_text(plan.wrk, plan.rounds),
          .unit = "req/s",
          .comparisons = {{"workers", "haproxies", Bound{Kind::kAtLeast, 1.5}},
                          {"workers", "plain workers"},
                          {"workers", "direct"},
                          {"haproxies", "direct"}}};
  Row p99{.group = kGroup,
          .title = row.title + ": 99 of 100 are answered within",
          .conditions = row.conditions,
          .unit = "µs",
          .comparisons = {{"workers", "haproxies", Bound{Kind::kAtMost, 0.7}}, {"workers", "plain workers"}}};
  Row cpu{.group = kGroup,
          .title = row.title + ": CPU time of the relays",
          .conditions = "of a request",
          .unit = "µs",
          .comparisons = {{"workers", "haproxies"}, {"workers", "plain workers"}}};
  in_rounds(row, pairs, plan, [&](const Pair& pair) {
    const double before = sidecars.cpu_seconds(pair);
    const Load load = measure_requests(pair, plan.wrk);
    p99.of(pair.variant).push_back(load.p99_us);
    if (pair.variant != "direct")
      cpu.of(pair.variant)
          .push_back((sidecars.cpu_seconds(pair) - before) * 1e6 / (load.per_second * plan.wrk.count()));
    return load.per_second;
  });
  return {std::move(row), std::move(p99), std::move(cpu)};
}

Row measure_bulk_row(const Sidecars& sidecars, const Plan& plan) {
  Row row{
      .group = kGroup,
      .title = "between nodes, bulk, 64 KB writes, mTLS",
      .conditions = sidecars.cpus_text() + ", " + std::to_string(kBulks) + " connections, " +
                    seconds_text(plan.bulk, plan.rounds),
      .unit = "Gbit/s",
      .comparisons = {
          {"workers", "haproxies", Bound{Kind::kAtLeast, 0.9}}, {"workers", "plain workers"}, {"workers", "direct"}}};
  in_rounds(row, {sidecars.direct(), sidecars.haproxies(), sidecars.workers(), sidecars.plain_workers()}, plan,
            [&](const Pair& pair) { return measure_many_bulks(pair, kBulks, kWriteBytes, plan.bulk); });
  return row;
}

Row measure_connect_row(const Sidecars& sidecars, const Plan& plan) {
  Row row{
      .group = kGroup,
      .title = "between nodes: from connect() to the first byte of the answer, over a tunnel that stands",
      .conditions = sidecars.cpus_text() + ", one after the other, " + std::to_string(plan.connections) + " × " +
                    std::to_string(plan.rounds),
      .unit = "µs",
      .comparisons = {
          {"workers", "plain workers", Bound{Kind::kAtMost, 1.3}}, {"workers", "haproxies"}, {"workers", "direct"}}};
  in_rounds(row, {sidecars.direct(), sidecars.haproxies(), sidecars.workers(), sidecars.plain_workers()}, plan,
            [&](const Pair& pair) { return measure_connects(pair, plan.connections).first_byte_us; });
  return row;
}

}  // namespace

std::vector<Row> measure_mtls(const Plan& plan) {
  std::vector<Row> rows = measure_requests_row({plan.first_cpu, plan.second_cpu, Sidecars::Speak::kHttp}, plan);
  const Sidecars sidecars(plan.first_cpu, plan.second_cpu, Sidecars::Speak::kTcp);
  rows.push_back(measure_bulk_row(sidecars, plan));
  rows.push_back(measure_connect_row(sidecars, plan));
  return rows;
}

}  // namespace underpass::bench
