// SPDX-License-Identifier: Apache-2.0
// The agent's own metrics, as families for the exposition library. Names: README, "Metrics".
#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "agent/dataplane/maps.h"
#include "agent/dataplane/probe.h"
#include "agent/learn/workload.h"
#include "underpass/abi.h"

namespace underpass {

struct MetricsInput {
  up_stats stats{};
  std::vector<dataplane::Maps::Fill> fill;
  std::uint64_t memory_used = 0;   // bytes
  std::uint64_t memory_limit = 0;  // bytes
  std::uint64_t pods_enrolled = 0;
  std::uint64_t pods_refused = 0;
  std::uint64_t services = 0;                                 // ports of Services in the tables
  std::uint64_t service_backends = 0;                         // ... and their backends
  std::map<learn::State, std::uint64_t> workloads;            // of pods in mode auto
  std::array<std::uint64_t, UP_WHY_COUNT> late_detections{};  // by enum up_why
  std::vector<dataplane::Capability> capabilities;
  double stale_seconds = 0;
};

std::vector<prometheus::MetricFamily> collect_metrics(const MetricsInput& input);

}  // namespace underpass
