// SPDX-License-Identifier: Apache-2.0
// istio_requests_total and its histograms: the exposition's text, whom a worker may speak of, and what stays when pods
// and workers go.
#include "agent/request_meter.h"

#include <doctest/doctest.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace underpass;

namespace {

const TrafficPeer kWeb{.workload = "web",
                       .ns = "shop",
                       .principal = "spiffe://td/ns/shop/sa/web",
                       .app = "web",
                       .version = "v1",
                       .canonical_service = "web",
                       .canonical_revision = "v1"};
const TrafficPeer kDb{.workload = "db",
                      .ns = "data",
                      .principal = "spiffe://td/ns/data/sa/db",
                      .canonical_service = "db",
                      .canonical_revision = "latest"};

// 1 and 2 are pods of shop/web, 3 of data/db.
const std::vector<RequestMeter::Pod> kPods{{1, kWeb}, {2, kWeb}, {3, kDb}};

std::optional<NamespacedName> service(std::uint32_t id) {
  return id == 7 ? std::optional(NamespacedName{.ns = "data", .name = "sql"}) : std::nullopt;
}

RequestSeries series(NetnsCookie client, NetnsCookie server, std::uint64_t requests = 1,
                     Reporter reporter = Reporter::kSource) {
  RequestSeries out{.key = {.client = client, .server = server, .service = 7, .code = 200, .reporter = reporter},
                    .counts = {}};
  for (std::uint64_t i = 0; i < requests; ++i) {
    ++out.counts.requests;
    out.counts.duration.add_micros(1'500);
    out.counts.request_bytes.add_bytes(0);
    out.counts.response_bytes.add_bytes(4'000'000);
  }
  return out;
}

struct Meter : RequestMeter {
  using RequestMeter::RequestMeter;
  void hear(const std::string& worker, const std::vector<RequestSeries>& said) { add(worker, said, service); }
  void pass(std::uint64_t readings, const std::vector<RequestMeter::Pod>& pods) {
    for (std::uint64_t i = 0; i < readings; ++i) observe(pods);
  }
  // "reporter/source_workload/destination_workload/response_code" to value.
  [[nodiscard]] std::map<std::string, double> totals() const {
    std::map<std::string, double> out;
    for (const auto& metric : family("istio_requests_total").metric) {
      std::map<std::string, std::string> labels;
      for (const auto& label : metric.label) CHECK(labels.emplace(label.name, label.value).second);
      CHECK(out.emplace(labels["reporter"] + "/" + labels["source_workload"] + "/" + labels["destination_workload"] +
                            "/" + labels["response_code"],
                        metric.counter.value)
                .second);
    }
    return out;
  }
  [[nodiscard]] prometheus::MetricFamily family(const std::string& name) const {
    const auto families = collect();
    return *std::ranges::find(families, name, &prometheus::MetricFamily::name);
  }
  [[nodiscard]] double refused(const std::string& worker) const {
    for (const auto& metric : family("underpass_worker_requests_refused_total").metric)
      if (metric.label.at(0).value == worker) return metric.counter.value;
    return 0;
  }
};

using Totals = std::map<std::string, double>;

std::string lines_with(const std::string& text, const std::string& what) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at);
    const auto line = text.substr(at, end - at);
    if (line.contains(what)) out += line + "\n";
    at = end + 1;
  }
  return out;
}

}  // namespace

TEST_CASE("requests: the exposition's text is Istio's") {
  Meter meter;
  meter.observe(kPods);
  auto denied = series(1, 3, 2);
  denied.key.code = 403;
  denied.key.flag = RequestFlag::kDenied;
  denied.key.grpc = true;
  denied.key.grpc_status = 7;
  meter.hear("shop", {denied});
  const auto text = prometheus::TextSerializer().Serialize(meter.collect());
  const std::string labels =
      R"(reporter="source",source_workload="web",source_workload_namespace="shop",)"
      R"(source_principal="spiffe://td/ns/shop/sa/web",source_app="web",source_version="v1",)"
      R"(source_canonical_service="web",source_canonical_revision="v1",destination_workload="db",)"
      R"(destination_workload_namespace="data",destination_principal="spiffe://td/ns/data/sa/db",)"
      R"(destination_app="unknown",destination_version="unknown",destination_canonical_service="db",)"
      R"(destination_canonical_revision="latest",destination_service="sql.data.svc.cluster.local",)"
      R"(destination_service_name="sql",destination_service_namespace="data",request_protocol="grpc",)"
      R"(response_code="403",grpc_response_status="7",response_flags="RBAC",connection_security_policy="none")";
  CHECK(
      text.starts_with("# HELP istio_requests_total Requests.\n"
                       "# TYPE istio_requests_total counter\n"
                       "istio_requests_total{" +
                       labels +
                       "} 2\n"
                       "# HELP istio_request_duration_milliseconds "));
  std::string buckets;
  for (const auto& [bound, count] : std::vector<std::pair<std::string, int>>{
           {"0.5", 0},   {"1", 0},      {"5", 2},      {"10", 2},      {"25", 2},      {"50", 2},    {"100", 2},
           {"250", 2},   {"500", 2},    {"1000", 2},   {"2500", 2},    {"5000", 2},    {"10000", 2}, {"30000", 2},
           {"60000", 2}, {"300000", 2}, {"600000", 2}, {"1800000", 2}, {"3600000", 2}, {"+Inf", 2}})
    buckets += "istio_request_duration_milliseconds_bucket{" + labels + ",le=\"" + bound + "\"} " +
               std::to_string(count) + "\n";
  CHECK(lines_with(text, "istio_request_duration_milliseconds_bucket") == buckets);
  CHECK(lines_with(text, "istio_request_duration_milliseconds_sum") ==
        "istio_request_duration_milliseconds_sum{" + labels + "} 3\n");
  CHECK(lines_with(text, "istio_request_duration_milliseconds_count") ==
        "istio_request_duration_milliseconds_count{" + labels + "} 2\n");
  CHECK(lines_with(text, "istio_response_bytes_sum") == "istio_response_bytes_sum{" + labels + "} 8000000\n");
  CHECK(lines_with(text, R"(le="3600000"} )").contains("istio_response_bytes_bucket{" + labels + ",le=\"3600000\"} 0"));
  CHECK(lines_with(text, "istio_request_bytes_count") == "istio_request_bytes_count{" + labels + "} 2\n");
}

TEST_CASE("requests: pods of one workload are one series, both ends report, and codes that are none are few") {
  Meter meter;
  meter.observe(kPods);
  auto none = series(1, 3);
  none.key.code = kNoCode;
  auto odd = series(1, 3);
  odd.key.code = kOtherCode;
  odd.key.grpc_status = kOtherGrpcStatus;
  meter.hear("shop", {series(1, 3), series(2, 3, 4), none, odd, series(1, 99)});
  meter.hear("data", {series(1, 3, 5, Reporter::kDestination)});
  CHECK(meter.totals() == Totals{{"source/web/db/200", 5},
                                 {"source/web/db/0", 1},
                                 {"source/web/db/other", 1},
                                 {"source/web/unknown/200", 1},
                                 {"destination/web/db/200", 5}});
}

TEST_CASE("requests: a worker is not believed about pods of others") {
  Meter meter;
  meter.observe(kPods);
  meter.hear("shop", {series(1, 3, 1, Reporter::kDestination)});  // 3 is of data
  meter.hear("data", {series(1, 3)});                             // 1 is of shop
  meter.hear("shop", {series(0, 3, 2), series(99, 3, 3)});        // nobody's
  auto overflow = series(1, 3, 7);
  overflow.key.overflow = true;
  meter.hear("data", {overflow});
  CHECK(meter.totals().empty());
  CHECK(meter.refused("shop") == 6);
  CHECK(meter.refused("data") == 8);
  meter.hear("_shared", {series(1, 3), series(1, 3, 1, Reporter::kDestination)});
  CHECK(meter.totals().size() == 2);
  CHECK(meter.is_own("shop", 1));
  CHECK(!meter.is_own("shop", 3));
  CHECK(!meter.is_own("shop", 0));
}

TEST_CASE("requests: what exceeds a bound is added up as other, and one worker does not take all") {
  Meter meter(RequestMeter::Bounds{.series = 5, .of_a_worker = 3});
  meter.observe(kPods);
  const auto many = [](NetnsCookie client, NetnsCookie server, Reporter reporter) {
    std::vector<RequestSeries> out;
    for (std::uint16_t code = 200; code < 220; ++code) {
      out.push_back(series(client, server, 1, reporter));
      out.back().key.code = code;
    }
    return out;
  };
  meter.hear("shop", many(1, 3, Reporter::kSource));
  CHECK(meter.totals().size() == 4);
  CHECK(meter.totals()["other/other/other/other"] == 17);
  meter.hear("data", many(1, 3, Reporter::kDestination));
  CHECK(meter.totals().size() == 6);
  CHECK(meter.totals()["other/other/other/other"] == 35);
  CHECK(meter.family("underpass_request_series").metric[0].gauge.value == 5);
  CHECK(meter.family("underpass_request_series_full").metric[0].gauge.value == 1);
  for (const auto& metric : meter.family("istio_requests_total").metric)
    if (metric.label[0].value == "other")
      for (const auto& label : metric.label) CHECK(label.value == "other");
  auto overflow = series(1, 3, 5);
  overflow.key.overflow = true;
  meter.hear("shop", {overflow});
  CHECK(meter.totals()["other/other/other/other"] == 40);
}

TEST_CASE("requests: counters never go down, whatever a worker says") {
  Meter meter;
  meter.observe(kPods);
  auto huge = series(1, 3);
  huge.counts.requests = huge.counts.duration.sum = std::numeric_limits<std::uint64_t>::max();
  meter.hear("shop", {huge});
  const auto before = meter.totals();
  meter.hear("shop", {huge, series(1, 3)});
  CHECK(meter.totals() == before);
}

TEST_CASE("requests: of a pod that has just gone the last ones count; a series stays while its workload does") {
  Meter meter;
  meter.observe(kPods);
  meter.hear("shop", {series(1, 3)});
  meter.pass(RequestMeter::kPodRemembered, {});
  meter.hear("shop", {series(1, 3)});
  CHECK(meter.totals() == Totals{{"source/web/db/200", 2}});
  meter.pass(1, {});
  meter.hear("shop", {series(1, 3)});  // nobody knows it any more
  CHECK(meter.totals() == Totals{{"source/web/db/200", 2}});
  CHECK(meter.refused("shop") == 1);
  // Another pod of the workload has come: its series goes on.
  meter.pass(3 * RequestMeter::kRemembered, {{2, kWeb}});
  CHECK(meter.totals() == Totals{{"source/web/db/200", 2}});
  meter.pass(RequestMeter::kPodRemembered * 2 + 1, {});
  CHECK(meter.totals().empty());
  CHECK(meter.family("underpass_request_series").metric[0].gauge.value == 0);
}

TEST_CASE("requests: a series that goes makes room") {
  Meter meter(RequestMeter::Bounds{.series = 1, .of_a_worker = 1});
  meter.observe(kPods);
  meter.hear("shop", {series(1, 3)});
  meter.pass(2 * RequestMeter::kRemembered, {{3, kDb}});
  meter.hear("data", {series(1, 3, 1, Reporter::kDestination)});
  CHECK(meter.totals() == Totals{{"destination/unknown/db/200", 1}});
}

TEST_CASE("requests: Istio's canonical names are labels, else the workload") {
  compile::PodStatus pod;
  pod.id = {.ns = "shop", .name = "web-1"};
  pod.workload.owner = "Deployment/web";
  CHECK(traffic_peer_of(pod, {}).canonical_service == "web");
  CHECK(traffic_peer_of(pod, {}).canonical_revision == "latest");
  CHECK(traffic_peer_of(pod, {{"app", "front"}, {"version", "v2"}}).canonical_service == "front");
  CHECK(traffic_peer_of(pod, {{"app", "front"}, {"version", "v2"}}).canonical_revision == "v2");
  const std::map<std::string, std::string> labels{{"app", "front"},
                                                  {"app.kubernetes.io/name", "shop-front"},
                                                  {"service.istio.io/canonical-name", "canon"},
                                                  {"app.kubernetes.io/version", "2.0"},
                                                  {"service.istio.io/canonical-revision", "r2"}};
  CHECK(traffic_peer_of(pod, labels).canonical_service == "canon");
  CHECK(traffic_peer_of(pod, labels).canonical_revision == "r2");
}
