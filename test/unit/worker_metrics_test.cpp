// SPDX-License-Identifier: Apache-2.0
// What the metrics say of workers, those that lie too.
#include "agent/worker_metrics.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

using namespace underpass;

namespace {

// `name{label="value",…}` to value.
std::map<std::string, double> samples_of(const std::vector<WorkerMetrics>& workers) {
  std::map<std::string, double> out;
  for (const auto& family : collect_worker_metrics(workers)) {
    const bool counter = family.type == prometheus::MetricType::Counter;
    CHECK(counter == family.name.ends_with("_total"));
    CHECK(!family.help.empty());
    for (const auto& metric : family.metric) {
      std::string labels;
      for (const auto& label : metric.label)
        labels += (labels.empty() ? "" : ",") + label.name + "=\"" + label.value + "\"";
      out[family.name + "{" + labels + "}"] = counter ? metric.counter.value : metric.gauge.value;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("worker metrics: all of them") {
  const worker::Report report{.connections = 3,
                              .accepted = 10,
                              .ended = {{"-", 6}, {"UF", 1}},
                              .accept_pauses = 2,
                              .paused = true,
                              .log_lines_lost = 5,
                              .dials = {{7, {64, 1}}, {8, {60, 2}}}};
  CHECK(samples_of({worker_metrics_of("shop", true, 4, report)}) ==
        std::map<std::string, double>{
            {"underpass_worker_up{worker=\"shop\"}", 1},
            {"underpass_worker_restarts_total{worker=\"shop\"}", 4},
            {"underpass_worker_connections{worker=\"shop\"}", 3},
            {"underpass_worker_accepted_total{worker=\"shop\"}", 10},
            {"underpass_worker_ended_total{worker=\"shop\",flag=\"-\"}", 6},
            {"underpass_worker_ended_total{worker=\"shop\",flag=\"UF\"}", 1},
            {"underpass_worker_accept_pauses_total{worker=\"shop\"}", 2},
            {"underpass_worker_log_lines_lost_total{worker=\"shop\"}", 5},
            {"underpass_worker_dial_sockets{worker=\"shop\",family=\"IPv4\"}", 124},
            {"underpass_worker_dial_sockets{worker=\"shop\",family=\"IPv6\"}", 3},
        });
}

TEST_CASE("worker metrics: one sample a worker, and families without one") {
  const auto two = samples_of({worker_metrics_of("bank", false, 0, {}), worker_metrics_of("_shared", true, 0, {})});
  CHECK(two.at("underpass_worker_up{worker=\"bank\"}") == 0);
  CHECK(two.at("underpass_worker_up{worker=\"_shared\"}") == 1);
  CHECK(collect_worker_metrics({}).size() == 8);
  CHECK(samples_of({}).empty());
}

TEST_CASE("worker metrics: flags that a worker invents are bounded") {
  worker::Report report;
  for (int i = 0; i < 1000; ++i) report.ended["F" + std::to_string(i)] = 1;
  report.ended[""] = 1;
  report.ended["a\"} 1\nunderpass_up 0"] = 1;
  report.ended[std::string(17, 'x')] = 1;
  const auto ended = worker_metrics_of("shop", true, 0, report).ended;
  CHECK(ended.size() <= 33);
  CHECK(ended.contains("F0"));
  CHECK(!ended.contains(""));
  std::uint64_t sum = 0;
  for (const auto& [flag, count] : ended) sum += count;
  CHECK(sum == 1003);
}
