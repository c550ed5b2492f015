// SPDX-License-Identifier: Apache-2.0
// What is measured: the rows of the report, each a few variants whose slices alternate A B C D A B C D, so that a
// change of the machine's speed hits all of them alike.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "test/bench/node.h"
#include "test/bench/report.h"

namespace underpass::bench {

inline constexpr std::array kGroups{"rtt",        "rtt-sleep", "rtt-2cpu", "bulk",           "connect",  "wrk",
                                    "unenrolled", "memory",    "services", "services-scale", "policies", "proxy",
                                    "http",       "mtls",      "authz",    "kubernetes"};

struct Plan {
  int rounds = 7;
  Seconds rtt{0.5};
  Seconds bulk{0.6};
  int connections = 2000;
  Seconds wrk{4};
  int cycles = 16;  // of agent off, agent on
  Seconds calls{1.2};
  int first_cpu = 0;
  int second_cpu = 1;
  // One line for whoever waits.
  std::function<void(const std::string&)> progress = [](const std::string&) {};

  void make_quick();
};

// In mode `auto` with readers that wait in poll(); kAsleep: in mode `on` with readers asleep in recv(), which `auto`
// leaves on TCP.
enum class Trips { kOneCpu, kAsleep, kTwoCpus };
std::vector<Row> measure_round_trips(const Node& node, const Plan& plan, Trips trips);
std::vector<Row> measure_bulks(const Node& node, const Plan& plan);
std::vector<Row> measure_connects(const Node& node, const Plan& plan);
std::vector<Row> measure_web(const Node& node, const Plan& plan);
std::vector<Row> measure_unenrolled(Node& node, const Plan& plan);
std::vector<Row> measure_memory(const Node& node);
std::vector<Row> measure_services(Node& node, const Plan& plan);
// 10,000 Services and 100,000 endpoints; an agent of its own.
std::vector<Row> measure_service_scale(const Plan& plan);
// 1,000 policies; what a change costs is measured of an agent of its own with 100 pods.
std::vector<Row> measure_policies(Node& node, const Plan& plan);
// Through a worker and through haproxy; an agent of its own.
std::vector<Row> measure_proxy(const Plan& plan);
// Requests through a worker, haproxy and nghttpx; an agent of its own.
std::vector<Row> measure_http(const Plan& plan);
// Between two nodes, through workers and through haproxies with mutual TLS; agents of its own.
std::vector<Row> measure_mtls(const Plan& plan);
// One decision of HTTP policy, with one rule and with 1,000; no sockets.
std::vector<Row> measure_authz(const Plan& plan);
// A cluster of 100 nodes that changes, at one agent's source and store.
std::vector<Row> measure_kubernetes(const Plan& plan);

}  // namespace underpass::bench
