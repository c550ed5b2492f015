// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.h"

#include <array>
#include <string>

#include "underpass/abi_names.h"

namespace underpass {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

struct Sample {
  std::vector<ClientMetric::Label> labels;
  double value;
};

MetricFamily family(std::string name, std::string help, MetricType type, const std::vector<Sample>& samples) {
  MetricFamily out{.name = std::move(name), .help = std::move(help), .type = type, .metric = {}};
  for (const auto& sample : samples) {
    ClientMetric metric;
    metric.label = sample.labels;
    if (type == MetricType::Counter)
      metric.counter.value = sample.value;
    else
      metric.gauge.value = sample.value;
    out.metric.push_back(std::move(metric));
  }
  return out;
}

}  // namespace

std::vector<MetricFamily> collect_metrics(const MetricsInput& input) {
  const auto number = [](auto value) { return static_cast<double>(value); };

  std::vector<Sample> ways;
  for (const up_way way : {UP_WAY_DIRECT, UP_WAY_SHORT_CIRCUIT, UP_WAY_PROXIED})
    ways.push_back({{{"way", std::string(name_of(way))}}, number(input.stats.connections[way])});
  std::vector<Sample> reasons, resets, late;
  for (int why = UP_WHY_NONE + 1; why < UP_WHY_COUNT; ++why) {
    const auto name = std::string(name_of(static_cast<up_why>(why)));
    reasons.push_back({{{"reason", name}}, number(input.stats.fallbacks[why])});
    resets.push_back({{{"reason", name}}, number(input.stats.resets[why])});
    late.push_back({{{"reason", name}}, number(input.late_detections[static_cast<std::size_t>(why)])});
  }
  std::vector<Sample> workloads;
  for (const auto state : {learn::State::kLearning, learn::State::kOn, learn::State::kOff}) {
    const auto found = input.workloads.find(state);
    workloads.push_back(
        {{{"state", std::string(learn::name_of(state))}}, number(found != input.workloads.end() ? found->second : 0)});
  }
  std::vector<Sample> capabilities;
  for (const auto& row : input.capabilities) capabilities.push_back({{{"name", row.name}, {"result", row.result}}, 1});
  std::vector<Sample> entries, capacity;
  for (const auto& map : input.fill) {
    entries.push_back({{{"map", map.map}}, number(map.entries)});
    capacity.push_back({{{"map", map.map}}, number(map.capacity)});
  }
  return {
      family("underpass_build_info", "The running version.", MetricType::Gauge,
             {{{{"version", UNDERPASS_VERSION}}, 1}}),
      family("underpass_pods", "Pods of this node, by what became of them.", MetricType::Gauge,
             {{{{"state", "enrolled"}}, number(input.pods_enrolled)},
              {{{"state", "refused"}}, number(input.pods_refused)}}),
      family("underpass_connections_total", "Established connections of enrolled pods, by way.", MetricType::Counter,
             ways),
      family("underpass_short_circuit_messages_total", "Messages moved socket to socket.", MetricType::Counter,
             {{{}, number(input.stats.redirected_messages)}}),
      family("underpass_short_circuit_bytes_total", "Payload moved socket to socket.", MetricType::Counter,
             {{{}, number(input.stats.redirected_bytes)}}),
      family(
          "underpass_short_circuit_fallbacks_total",
          "Connections that are not short-circuited, and messages of short-circuited ones that went by TCP, by reason.",
          MetricType::Counter, reasons),
      family("underpass_short_circuit_resets_total",
             "Short-circuited connections that could not go on as TCP would and were reset, by reason.",
             MetricType::Counter, resets),
      family("underpass_capability", "What this kernel can do, as `underpassctl check` shows it.", MetricType::Gauge,
             capabilities),
      family("underpass_short_circuit_workloads", "Workloads with pods in mode auto on this node, by what was learned.",
             MetricType::Gauge, workloads),
      family("underpass_short_circuit_late_detections_total",
             "Workloads that were learned to be safe and then did what short-circuit cannot carry, by reason.",
             MetricType::Counter, late),
      family("underpass_short_circuit_memory_bytes", "Granted to queues of short-circuited connections.",
             MetricType::Gauge, {{{}, number(input.memory_used)}}),
      family("underpass_short_circuit_memory_limit_bytes", "The node's budget for them.", MetricType::Gauge,
             {{{}, number(input.memory_limit)}}),
      family("underpass_map_entries", "Entries of a BPF map.", MetricType::Gauge, entries),
      family("underpass_map_capacity", "Entries that fit into a BPF map.", MetricType::Gauge, capacity),
      family("underpass_services", "Ports of Services that connect() knows, one for each IP family.", MetricType::Gauge,
             {{{}, number(input.services)}}),
      family("underpass_service_backends", "Backends of these ports.", MetricType::Gauge,
             {{{}, number(input.service_backends)}}),
      family("underpass_flows_lost_total", "Events of `underpassctl flows` that came faster than they could be taken.",
             MetricType::Counter, {{{}, number(input.stats.flows_lost)}}),
      family("underpass_config_stale_seconds", "Since when the configuration could not be read; 0: it can.",
             MetricType::Gauge, {{{}, input.stale_seconds}}),
  };
}

}  // namespace underpass
