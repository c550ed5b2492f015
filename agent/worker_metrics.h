// SPDX-License-Identifier: Apache-2.0
// What the agent's metrics say of its workers. Names: docs/proxy.md, "Metrics".
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "underpass/worker_protocol.h"

namespace underpass {

// Counters are since the worker started, but `restarts`.
struct WorkerMetrics {
  std::string worker;  // its name
  bool up = false;     // ready, or draining
  std::uint64_t restarts = 0;
  std::uint64_t connections = 0;
  std::uint64_t accepted = 0;
  std::map<std::string, std::uint64_t> ended;  // by flag of the access log
  std::uint64_t accept_pauses = 0;
  std::uint64_t log_lines_lost = 0;
  std::uint64_t dials4 = 0;  // sockets that are left, of all its pods
  std::uint64_t dials6 = 0;
};

// With what the worker reports of itself. It may report anything, so how many flags there are and how they are spelt is
// bounded: what is more or odd is counted together as "other".
WorkerMetrics worker_metrics_of(std::string worker, bool up, std::uint64_t restarts, const worker::Report& report);

std::vector<prometheus::MetricFamily> collect_worker_metrics(const std::vector<WorkerMetrics>& workers);

}  // namespace underpass
