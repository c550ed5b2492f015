// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic_meter.h"

#include <algorithm>
#include <string_view>

#include "agent/metric_family.h"

namespace underpass {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::array<const char*, 15> kLabels{
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "connection_security_policy",
};

// The same in every series: nothing here is HTTP.
constexpr std::array<std::pair<const char*, const char*>, 2> kConstant{{
    {"request_protocol", "tcp"},
    {"response_flags", "-"},
}};

constexpr std::string_view kOther = "other";

std::string or_unknown(const std::string& text) { return text.empty() ? "unknown" : text; }

bool restarted(const up_traffic& before, const up_traffic& now) {
  return now.opened < before.opened || now.closed < before.closed || now.sent < before.sent ||
         now.received < before.received;
}

}  // namespace

// https://istio.io/latest/docs/ops/deployment/application-requirements/ and its "canonical service".
TrafficPeer traffic_peer_of(const compile::PodStatus& pod, const std::map<std::string, std::string>& labels) {
  const auto label = [&](std::initializer_list<const char*> names, std::string otherwise = "") {
    for (const char* name : names)
      if (const auto found = labels.find(name); found != labels.end() && !found->second.empty()) return found->second;
    return otherwise;
  };
  const std::string& owner = pod.workload.owner;
  const std::string workload = owner.substr(owner.find('/') + 1);  // all of it where there is no slash
  return {.workload = workload,
          .ns = pod.id.ns,
          .principal = pod.identity,
          .app = label({"app"}),
          .version = label({"version"}),
          .canonical_service = label({"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}, workload),
          .canonical_revision =
              label({"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}, "latest")};
}

TrafficMeter::Totals* TrafficMeter::find_or_make(Labels labels) {
  if (const auto found = series_.find(labels); found != series_.end()) return &found->second;
  if (series_.size() < most_series_) return &series_.emplace(std::move(labels), Totals{}).first->second;
  full_ = true;
  return &other_;
}

// Of a row between pods that are still known, the series of their present names; else that of before.
std::array<TrafficMeter::Totals*, 2> TrafficMeter::series_of(const up_traffic_key& key, const Known& known,
                                                             const FindPeer& find_peer, const FindService& find_service,
                                                             const FindWorkload& find_workload) {
  if (key.client_netns == 0 && key.server_netns == 0) return {&other_, nullptr};  // what found no room in the map
  auto remote = key.workload != 0 ? find_workload(key.workload) : std::nullopt;
  const bool remote_gone = key.workload != 0 && !remote;
  if (remote && key.tunnel == UP_TUNNEL_NONE) remote->principal.clear();
  const auto peer_of = [&](NetnsCookie cookie) { return cookie != 0 ? find_peer(cookie) : remote; };
  const auto client = peer_of(key.client_netns);
  const auto server = peer_of(key.server_netns);
  const auto service = key.service != 0 ? find_service(key.service) : std::nullopt;
  const bool gone = (key.client_netns != 0 && !client) || (key.server_netns != 0 && !server) ||
                    (key.service != 0 && !service) || remote_gone;
  if (gone && known.series[0] != nullptr) return known.series;

  Labels labels;
  std::size_t at = 1;  // after the reporter
  for (const auto* peer : {&client, &server}) {
    const TrafficPeer one = peer->value_or(TrafficPeer{});
    for (const std::string* text : {&one.workload, &one.ns, &one.principal, &one.app, &one.version})
      labels[at++] = or_unknown(*text);
  }
  labels[at++] = service ? service->name + "." + service->ns + ".svc.cluster.local" : "unknown";
  labels[at++] = service ? service->name : "unknown";
  labels[at++] = service ? service->ns : "unknown";
  labels[at] = key.tunnel != UP_TUNNEL_NONE ? "mutual_tls" : "none";

  std::array<Totals*, 2> out{};
  std::size_t used = 0;
  for (const auto& [reporter, cookie] : {std::pair("source", key.client_netns), {"destination", key.server_netns}}) {
    if (cookie == 0) continue;
    labels[0] = reporter;
    Totals* totals = find_or_make(labels);
    if (used == 0 || out[0] != totals) out[used++] = totals;  // beyond the bound, once is enough
  }
  return out;
}

void TrafficMeter::observe(std::span<const Row> rows, const FindPeer& find_peer, const FindService& find_service,
                           const FindWorkload& find_workload) {
  ++reading_;
  for (const auto& [key, now] : rows) {
    Known& known = rows_[{key.client_netns, key.server_netns, key.service, key.workload, key.tunnel}];
    known.reading = reading_;
    const up_traffic before = restarted(known.last, now) ? up_traffic{} : known.last;
    known.last = now;
    if (now.opened == before.opened && now.closed == before.closed && now.sent == before.sent &&
        now.received == before.received)
      continue;
    known.series = series_of(key, known, find_peer, find_service, find_workload);
    for (Totals* totals : known.series) {
      if (totals == nullptr) continue;
      totals->opened += now.opened - before.opened;
      totals->closed += now.closed - before.closed;
      totals->request += now.sent - before.sent;
      totals->response += now.received - before.received;
      other_used_ = other_used_ || totals == &other_;
    }
  }
  for (auto& [key, known] : rows_)
    if (known.reading != reading_) known.last = up_traffic{};
  std::erase_if(rows_, [this](const auto& row) { return reading_ - row.second.reading > kRemembered; });
}

std::vector<MetricFamily> TrafficMeter::collect() const {
  struct Counter {
    const char* name;
    const char* help;
    std::uint64_t Totals::* member;
  };
  static constexpr std::array<Counter, 4> kCounters{{
      {"istio_tcp_sent_bytes_total", "Bytes sent in response: from server to client.", &Totals::response},
      {"istio_tcp_received_bytes_total", "Bytes received as request: from client to server.", &Totals::request},
      {"istio_tcp_connections_opened_total", "Connections opened.", &Totals::opened},
      {"istio_tcp_connections_closed_total", "Connections closed.", &Totals::closed},
  }};
  std::vector<MetricFamily> families;
  for (const Counter& counter : kCounters) {
    MetricFamily family{.name = counter.name, .help = counter.help, .type = MetricType::Counter, .metric = {}};
    for (const auto& [values, totals] : series_) {
      std::vector<ClientMetric::Label> labels;
      labels.reserve(kLabels.size() + kConstant.size());
      for (std::size_t i = 0; i < kLabels.size(); ++i) labels.push_back({kLabels[i], values[i]});
      for (const auto& [name, value] : kConstant) labels.push_back({name, value});
      family.metric.push_back(counter_metric(std::move(labels), totals.*counter.member));
    }
    if (other_used_) {
      std::vector<ClientMetric::Label> labels;
      for (const char* name : kLabels) labels.push_back({name, std::string(kOther)});
      for (const auto& [name, value] : kConstant) labels.push_back({name, std::string(kOther)});
      family.metric.push_back(counter_metric(std::move(labels), other_.*counter.member));
    }
    families.push_back(std::move(family));
  }
  families.push_back(gauge_family("underpass_tcp_series",
                                  "Label sets of istio_tcp_*, the one of \"other\" not counted.",
                                  static_cast<double>(series_.size())));
  families.push_back(gauge_family("underpass_tcp_series_full",
                                  "1: there are more than are kept, and the rest is added up with labels \"other\".",
                                  full_ ? 1 : 0));
  return families;
}

}  // namespace underpass
