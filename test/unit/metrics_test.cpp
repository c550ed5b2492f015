// SPDX-License-Identifier: Apache-2.0
// What learning adds to the metrics.
#include "agent/metrics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "underpass/abi_names.h"

using namespace underpass;

namespace {

// The samples of a family by the value of their only label.
std::map<std::string, double> samples_of(const MetricsInput& input, const std::string& name,
                                         prometheus::MetricType type) {
  std::map<std::string, double> out;
  for (const auto& family : collect_metrics(input)) {
    if (family.name != name) continue;
    CHECK(family.type == type);
    for (const auto& metric : family.metric) {
      REQUIRE(metric.label.size() == 1);
      out[metric.label[0].value] = type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("metrics: workloads by what was learned") {
  const auto gauge = [](const MetricsInput& input) {
    return samples_of(input, "underpass_short_circuit_workloads", prometheus::MetricType::Gauge);
  };
  CHECK(gauge({}) == std::map<std::string, double>{{"learning", 0}, {"on", 0}, {"off", 0}});
  CHECK(gauge({.workloads = {{learn::State::kOn, 3}, {learn::State::kOff, 1}}}) ==
        std::map<std::string, double>{{"learning", 0}, {"on", 3}, {"off", 1}});
}

TEST_CASE("metrics: late detections, by every reason there is") {
  MetricsInput input;
  input.late_detections[UP_WHY_SPLICE] = 2;
  const auto late = samples_of(input, "underpass_short_circuit_late_detections_total", prometheus::MetricType::Counter);
  CHECK(late.size() == UP_WHY_COUNT - 1);
  CHECK(late.at("splice") == 2);
  CHECK(late.at("waitall") == 0);
}

TEST_CASE("metrics: Services and their backends") {
  const auto families = collect_metrics({.services = 3, .service_backends = 12});
  const auto value = [&](const std::string& name) {
    const auto found = std::ranges::find(families, name, &prometheus::MetricFamily::name);
    REQUIRE(found != families.end());
    CHECK(found->type == prometheus::MetricType::Gauge);
    return found->metric.at(0).gauge.value;
  };
  CHECK(value("underpass_services") == 3);
  CHECK(value("underpass_service_backends") == 12);
}

TEST_CASE("metrics: flows that were lost") {
  MetricsInput input;
  input.stats.flows_lost = 7;
  const auto families = collect_metrics(input);
  const auto found = std::ranges::find(families, "underpass_flows_lost_total", &prometheus::MetricFamily::name);
  REQUIRE(found != families.end());
  CHECK(found->metric.at(0).counter.value == 7);
}
