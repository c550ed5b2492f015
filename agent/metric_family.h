// SPDX-License-Identifier: Apache-2.0
// The two shapes of metrics that are made again and again.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace underpass {

inline prometheus::ClientMetric counter_metric(std::vector<prometheus::ClientMetric::Label> labels,
                                               std::uint64_t value) {
  prometheus::ClientMetric metric;
  metric.label = std::move(labels);
  metric.counter.value = static_cast<double>(value);
  return metric;
}

inline prometheus::ClientMetric gauge_metric(std::vector<prometheus::ClientMetric::Label> labels, double value) {
  prometheus::ClientMetric metric;
  metric.label = std::move(labels);
  metric.gauge.value = value;
  return metric;
}

// Of one series without labels.
inline prometheus::MetricFamily gauge_family(std::string name, std::string help, double value) {
  return {.name = std::move(name),
          .help = std::move(help),
          .type = prometheus::MetricType::Gauge,
          .metric = {gauge_metric({}, value)}};
}

}  // namespace underpass
