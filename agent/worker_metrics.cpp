// SPDX-License-Identifier: Apache-2.0
#include "agent/worker_metrics.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace underpass {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::size_t kMostFlags = 32;
constexpr std::size_t kLongestFlag = 16;
constexpr const char* kOtherFlag = "other";

bool is_flag(std::string_view text) {
  return !text.empty() && text.size() <= kLongestFlag && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

class Family {
 public:
  Family(const char* name, const char* help, MetricType type)
      : out_{.name = name, .help = help, .type = type, .metric = {}} {}

  void add(std::vector<ClientMetric::Label> labels, std::uint64_t value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    (out_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    out_.metric.push_back(std::move(metric));
  }
  MetricFamily take() { return std::move(out_); }

 private:
  MetricFamily out_;
};

}  // namespace

WorkerMetrics worker_metrics_of(std::string worker, bool up, std::uint64_t restarts, const worker::Report& report) {
  WorkerMetrics out{.worker = std::move(worker),
                    .up = up,
                    .restarts = restarts,
                    .connections = report.connections,
                    .accepted = report.accepted,
                    .ended = {},
                    .accept_pauses = report.accept_pauses,
                    .log_lines_lost = report.log_lines_lost};
  for (const auto& [flag, count] : report.ended) {
    const bool fits = is_flag(flag) && (out.ended.contains(flag) || out.ended.size() < kMostFlags);
    out.ended[fits ? flag : kOtherFlag] += count;
  }
  for (const auto& [netns, left] : report.dials) {
    out.dials4 += left.first;
    out.dials6 += left.second;
  }
  return out;
}

std::vector<MetricFamily> collect_worker_metrics(const std::vector<WorkerMetrics>& workers) {
  Family up("underpass_worker_up", "1: the worker serves.", MetricType::Gauge);
  Family restarts("underpass_worker_restarts_total", "How often a worker that had gone was started again.",
                  MetricType::Counter);
  Family connections("underpass_worker_connections", "Connections that a worker carries now.", MetricType::Gauge);
  Family accepted("underpass_worker_accepted_total", "Connections that a worker accepted.", MetricType::Counter);
  Family ended("underpass_worker_ended_total",
               "Connections through a worker that ended, by flag of the access log; -: as they should.",
               MetricType::Counter);
  Family pauses("underpass_worker_accept_pauses_total",
                "How often a worker stopped accepting because descriptors ran short.", MetricType::Counter);
  Family lost("underpass_worker_log_lines_lost_total", "Lines of the access log that nobody took.",
              MetricType::Counter);
  Family dials("underpass_worker_dial_sockets", "Sockets for dials from its pods that a worker has left.",
               MetricType::Gauge);
  for (const auto& one : workers) {
    const ClientMetric::Label name{"worker", one.worker};
    up.add({name}, one.up ? 1 : 0);
    restarts.add({name}, one.restarts);
    connections.add({name}, one.connections);
    accepted.add({name}, one.accepted);
    for (const auto& [flag, count] : one.ended) ended.add({name, {"flag", flag}}, count);
    pauses.add({name}, one.accept_pauses);
    lost.add({name}, one.log_lines_lost);
    dials.add({name, {"family", "IPv4"}}, one.dials4);
    dials.add({name, {"family", "IPv6"}}, one.dials6);
  }
  return {up.take(),    restarts.take(), connections.take(), accepted.take(),
          ended.take(), pauses.take(),   lost.take(),        dials.take()};
}

}  // namespace underpass
