// SPDX-License-Identifier: Apache-2.0
// The rows of requests through a worker: HTTP/1.1 against haproxy, HTTP/2 against nghttpx, and a thousand rules against
// one.
#include <algorithm>
#include <list>

#include "test/bench/relay_rows.h"
#include "test/bench/rows.h"
#include "test/bench/slices.h"
#include "test/bench/web.h"

namespace underpass::bench {
namespace {

using Kind = Bound::Kind;

constexpr const char* kGroup = "http";

Slice slice_of(const Load& load, Seconds duration) {
  return {.value = load.per_second, .count = load.per_second * duration.count(), .p99_us = load.p99_us};
}

std::string http1_conditions(const Relays& relays, const Plan& plan) {
  return relays.cpus_text() + ", " + std::to_string(kWrkConnections) + " connections, " +
         std::to_string(kWebBodyBytes) + " B body, " + seconds_text(plan.wrk, plan.rounds);
}

// A server for each pair, but those that share direct()'s.
std::list<WebServer> servers_of(const Relays& relays, const std::vector<Pair>& pairs, WebServer::Speaks speaks) {
  std::list<WebServer> servers;
  std::vector<std::string> hosts;
  for (const Pair& pair : pairs) {
    if (std::ranges::find(hosts, pair.host) != hosts.end()) continue;
    hosts.push_back(pair.host);
    servers.emplace_back(pair, relays.folder() / pair.variant, speaks);
  }
  return servers;
}

std::vector<Row> measure_http1(const Relays& relays, const Plan& plan) {
  const std::vector<Pair> pairs{relays.direct(), relays.haproxy(), relays.haproxy_in_mesh(), relays.worker(),
                                relays.short_circuit()};
  const auto servers = servers_of(relays, pairs, WebServer::Speaks::kHttp1);
  Row row{.group = kGroup,
          .title = "through a relay, wrk → nginx, HTTP/1.1 keep-alive",
          .conditions = http1_conditions(relays, plan),
          .unit = "req/s",
          .comparisons = {{"worker", "haproxy", Bound{Kind::kAtLeast, 1.0}},
                          {"worker", "haproxy in mesh"},
                          {"worker", "direct"},
                          {"worker, on", "haproxy"},
                          {"haproxy", "direct"}}};
  return measure_relays(relays, plan, std::move(row), "of a request", pairs,
                        [&](const Pair& pair) { return slice_of(measure_requests(pair, plan.wrk), plan.wrk); });
}

std::vector<Row> measure_http2(const Relays& relays, const Plan& plan) {
  const std::vector<Pair> pairs{relays.direct(), relays.nghttpx(), relays.worker(), relays.short_circuit()};
  const auto servers = servers_of(relays, pairs, WebServer::Speaks::kHttp2);
  Row row{.group = kGroup,
          .title = "through a relay, h2load → nghttpd, HTTP/2",
          .conditions = relays.cpus_text() + ", " + std::to_string(kHttp2Connections) + " connections with " +
                        std::to_string(kStreams) + " streams, " + std::to_string(kWebBodyBytes) + " B body, " +
                        seconds_text(plan.wrk, plan.rounds),
          .unit = "req/s",
          .comparisons = {{"worker", "nghttpx", Bound{Kind::kAtLeast, 0.8}},
                          {"worker", "direct"},
                          {"worker, on", "nghttpx"},
                          {"nghttpx", "direct"}}};
  return measure_relays(relays, plan, std::move(row), "of a request", pairs, [&](const Pair& pair) {
    return slice_of(measure_http2_requests(pair, plan.wrk, relays.folder() / pair.variant), plan.wrk);
  });
}

std::vector<Row> measure_rules(Relays& relays, const Plan& plan) {
  relays.have_rules("one", 1);
  relays.have_rules("thousand", 1000);
  const std::vector<Pair> pairs{relays.of_namespace("1 rule", "one"), relays.of_namespace("1,000 rules", "thousand")};
  const auto servers = servers_of(relays, pairs, WebServer::Speaks::kHttp1);
  // A tenth more time is 0.91 times the rate.
  Row row{.group = kGroup,
          .title = "HTTP/1.1 through a worker that decides by rules",
          .conditions = http1_conditions(relays, plan) + "; the last rule allows",
          .unit = "req/s",
          .comparisons = {{"1,000 rules", "1 rule", Bound{Kind::kAtLeast, 0.91}}}};
  return measure_relays(relays, plan, std::move(row), "of a request", pairs,
                        [&](const Pair& pair) { return slice_of(measure_requests(pair, plan.wrk), plan.wrk); });
}

}  // namespace

std::vector<Row> measure_http(const Plan& plan) {
  Relays relays(plan.first_cpu, plan.second_cpu, Relays::Speak::kHttp);
  std::vector<Row> rows;
  for (Row& row : measure_http1(relays, plan)) rows.push_back(std::move(row));
  for (Row& row : measure_http2(relays, plan)) rows.push_back(std::move(row));
  for (Row& row : measure_rules(relays, plan)) rows.push_back(std::move(row));
  return rows;
}

}  // namespace underpass::bench
