// SPDX-License-Identifier: Apache-2.0
// istio_tcp_*: labels and meaning, and that counters only ever grow by what is new.
#include "agent/traffic_meter.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

using namespace underpass;
using Row = TrafficMeter::Row;

namespace {

Row row(std::uint64_t client, std::uint64_t server, std::uint32_t service, up_traffic traffic) {
  return {{.client_netns = client, .server_netns = server, .service = service, .workload = 0, .tunnel = 0, .pad = 0},
          traffic};
}

std::optional<TrafficPeer> peer(NetnsCookie cookie) {
  if (cookie == 1 || cookie == 2)  // two pods of one workload
    return TrafficPeer{
        .workload = "web", .ns = "shop", .principal = "spiffe://td/ns/shop/sa/web", .app = "web", .version = "v1"};
  if (cookie == 3) return TrafficPeer{.workload = "db", .ns = "data", .principal = "spiffe://td/ns/data/sa/db"};
  if (cookie >= 1000) return TrafficPeer{.workload = "w" + std::to_string(cookie), .ns = "many"};
  return std::nullopt;
}

std::optional<NamespacedName> service(std::uint32_t id) {
  return id == 7 ? std::optional(NamespacedName{.ns = "data", .name = "sql"}) : std::nullopt;
}

// "reporter/source_workload/destination_workload/destination_service_name" to value.
std::map<std::string, double> values(const TrafficMeter& meter, const std::string& name) {
  std::map<std::string, double> out;
  for (const auto& family : meter.collect()) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      std::map<std::string, std::string> labels;
      for (const auto& label : metric.label) CHECK(labels.emplace(label.name, label.value).second);
      const std::string key = labels["reporter"] + "/" + labels["source_workload"] + "/" +
                              labels["destination_workload"] + "/" + labels["destination_service_name"];
      CHECK(out.emplace(key, metric.counter.value).second);
    }
  }
  return out;
}

double gauge(const TrafficMeter& meter, const std::string& name) {
  const auto families = meter.collect();
  return std::ranges::find(families, name, &prometheus::MetricFamily::name)->metric.at(0).gauge.value;
}

void observe(TrafficMeter& meter, const std::vector<Row>& rows) { meter.observe(rows, peer, service); }

constexpr const char* kSent = "istio_tcp_sent_bytes_total";
constexpr const char* kReceived = "istio_tcp_received_bytes_total";
constexpr const char* kOpened = "istio_tcp_connections_opened_total";
constexpr const char* kClosed = "istio_tcp_connections_closed_total";

}  // namespace

TEST_CASE("traffic: Istio's names, labels and directions") {
  TrafficMeter meter;
  observe(meter, {row(1, 0, 7, {.opened = 2, .closed = 1, .sent = 10, .received = 2000})});
  const auto families = meter.collect();
  REQUIRE(families.size() == 6);
  REQUIRE(families[0].metric.size() == 1);
  CHECK(families[0].type == prometheus::MetricType::Counter);
  std::string labels;
  for (const auto& label : families[0].metric[0].label) labels += label.name + "=" + label.value + "\n";
  CHECK(labels ==
        "reporter=source\n"
        "source_workload=web\n"
        "source_workload_namespace=shop\n"
        "source_principal=spiffe://td/ns/shop/sa/web\n"
        "source_app=web\n"
        "source_version=v1\n"
        "destination_workload=unknown\n"
        "destination_workload_namespace=unknown\n"
        "destination_principal=unknown\n"
        "destination_app=unknown\n"
        "destination_version=unknown\n"
        "destination_service=sql.data.svc.cluster.local\n"
        "destination_service_name=sql\n"
        "destination_service_namespace=data\n"
        "connection_security_policy=none\n"
        "request_protocol=tcp\n"
        "response_flags=-\n");
  using Values = std::map<std::string, double>;
  CHECK(values(meter, kSent) == Values{{"source/web/unknown/sql", 2000}});  // what the server sent
  CHECK(values(meter, kReceived) == Values{{"source/web/unknown/sql", 10}});
  CHECK(values(meter, kOpened) == Values{{"source/web/unknown/sql", 2}});
  CHECK(values(meter, kClosed) == Values{{"source/web/unknown/sql", 1}});
}

TEST_CASE("traffic: a pod of another node has its workload's names, and through a tunnel its principal") {
  TrafficMeter meter;
  const auto far_row = [](std::uint64_t client, std::uint64_t server, std::uint32_t workload, up_tunnel tunnel) {
    auto out = row(client, server, 0, {.opened = 1});
    out.first.workload = workload;
    out.first.tunnel = tunnel;
    return out;
  };
  const auto find = [](std::uint32_t number) {
    return number == 5 ? std::optional(TrafficPeer{.workload = "far", .ns = "away", .principal = "spiffe://td/far"})
                       : std::nullopt;
  };
  const auto series = [&] {
    std::vector<std::string> out;
    for (const auto& family : meter.collect()) {
      if (family.name != kOpened) continue;
      for (const auto& metric : family.metric) {
        std::map<std::string, std::string> labels;
        for (const auto& label : metric.label) labels[label.name] = label.value;
        out.push_back(labels["reporter"] + " " + labels["source_workload"] + " " + labels["source_principal"] + " " +
                      labels["destination_workload"] + " " + labels["destination_principal"] + " " +
                      labels["connection_security_policy"]);
      }
    }
    std::ranges::sort(out);
    return out;
  };
  const std::vector<Row> rows{far_row(1, 0, 5, UP_TUNNEL_HBONE), far_row(1, 0, 5, UP_TUNNEL_NONE),
                              far_row(0, 3, 5, UP_TUNNEL_HBONE), far_row(1, 0, 6, UP_TUNNEL_HBONE),
                              far_row(1, 3, 5, UP_TUNNEL_HBONE)};
  meter.observe(rows, peer, service, find);
  const std::vector<std::string> wanted{
      "destination far spiffe://td/far db spiffe://td/ns/data/sa/db mutual_tls",
      "destination web spiffe://td/ns/shop/sa/web db spiffe://td/ns/data/sa/db mutual_tls",
      "source web spiffe://td/ns/shop/sa/web db spiffe://td/ns/data/sa/db mutual_tls",
      "source web spiffe://td/ns/shop/sa/web far spiffe://td/far mutual_tls",
      "source web spiffe://td/ns/shop/sa/web far unknown none",
      "source web spiffe://td/ns/shop/sa/web unknown unknown mutual_tls",
  };
  CHECK(series() == wanted);
}

TEST_CASE("traffic: each enrolled end reports, and pods of one workload are one series") {
  TrafficMeter meter;
  observe(meter, {row(1, 3, 7, {.opened = 1}), row(2, 3, 7, {.opened = 4}), row(0, 3, 0, {.opened = 8})});
  CHECK(values(meter, kOpened) == std::map<std::string, double>{{"source/web/db/sql", 5},
                                                                {"destination/web/db/sql", 5},
                                                                {"destination/unknown/db/unknown", 8}});
}

TEST_CASE("traffic: only what is new is added") {
  TrafficMeter meter;
  const auto opened = [&] { return values(meter, kOpened)["source/web/unknown/sql"]; };
  observe(meter, {row(1, 0, 7, {.opened = 5})});
  observe(meter, {row(1, 0, 7, {.opened = 5})});
  CHECK(opened() == 5);
  observe(meter, {row(1, 0, 7, {.opened = 6}), row(1, 0, 7, {.opened = 6})});  // the kernel may list a key twice
  CHECK(opened() == 6);
  observe(meter, {row(1, 0, 7, {.opened = 2})});  // from 0 again
  CHECK(opened() == 8);
  observe(meter, {});
  CHECK(opened() == 8);
  observe(meter, {row(1, 0, 7, {.opened = 3})});  // another life of the row
  CHECK(opened() == 11);
}

TEST_CASE("traffic: what a pod that is gone did last is still its own") {
  TrafficMeter meter;
  bool gone = false;
  const auto find = [&](NetnsCookie cookie) { return gone ? std::nullopt : peer(cookie); };
  meter.observe(std::vector{row(1, 3, 7, {.opened = 1})}, find, service);
  gone = true;
  meter.observe(std::vector{row(1, 3, 7, {.opened = 2}), row(2, 0, 0, {.opened = 1})}, find, service);
  CHECK(values(meter, kOpened) == std::map<std::string, double>{{"source/web/db/sql", 2},
                                                                {"destination/web/db/sql", 2},
                                                                {"source/unknown/unknown/unknown", 1}});
  // Also in a new row, for a while.
  const auto late = std::vector{row(1, 3, 7, {.opened = 1})};
  meter.observe({}, find, service);
  meter.observe(late, find, service);
  CHECK(values(meter, kOpened)["source/web/db/sql"] == 3);
  for (std::uint64_t i = 0; i <= TrafficMeter::kRemembered; ++i) meter.observe({}, find, service);
  meter.observe(late, find, service);
  CHECK(values(meter, kOpened)["source/web/db/sql"] == 3);
}

TEST_CASE("traffic: the number of series is bounded, and nothing is lost beyond") {
  TrafficMeter meter(3);
  std::vector<Row> rows;
  for (std::uint64_t i = 0; i < 10; ++i) rows.push_back(row(1000 + i, 0, 0, {.opened = 1}));
  observe(meter, {rows.begin(), rows.begin() + 3});
  CHECK(gauge(meter, "underpass_tcp_series_full") == 0);
  CHECK(values(meter, kOpened).size() == 3);
  observe(meter, rows);
  CHECK(gauge(meter, "underpass_tcp_series") == 3);
  CHECK(gauge(meter, "underpass_tcp_series_full") == 1);
  auto opened = values(meter, kOpened);
  CHECK(opened.size() == 4);
  CHECK(opened["other/other/other/other"] == 7);
  // Two reporters beyond the bound: once.
  rows.push_back(row(2000, 2001, 0, {.opened = 5}));
  observe(meter, rows);
  CHECK(values(meter, kOpened)["other/other/other/other"] == 12);
}

TEST_CASE("traffic: what found no room in the map is other's") {
  TrafficMeter meter;
  observe(meter, {row(0, 0, 0, {})});  // it is there from the beginning
  CHECK(values(meter, kOpened).empty());
  observe(meter, {row(0, 0, 0, {.opened = 3, .sent = 4})});
  CHECK(values(meter, kReceived) == std::map<std::string, double>{{"other/other/other/other", 4}});
  CHECK(gauge(meter, "underpass_tcp_series_full") == 0);
}

TEST_CASE("traffic: a peer out of a pod's status") {
  compile::PodStatus pod{.id = {"shop", "web-1"}, .identity = "spiffe://x"};
  pod.workload.owner = "Deployment/web";
  CHECK(traffic_peer_of(pod, {{"app", "front"}, {"version", "v2"}, {"x", "y"}}) ==
        TrafficPeer{.workload = "web",
                    .ns = "shop",
                    .principal = "spiffe://x",
                    .app = "front",
                    .version = "v2",
                    .canonical_service = "front",
                    .canonical_revision = "v2"});
  pod.workload.owner = "";
  CHECK(traffic_peer_of(pod, {}) ==
        TrafficPeer{.workload = "", .ns = "shop", .principal = "spiffe://x", .canonical_revision = "latest"});
}

TEST_CASE("traffic: under any coming, going and starting over, counters grow by exactly what happened") {
  std::mt19937_64 random(11);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  TrafficMeter meter;
  std::map<std::uint64_t, up_traffic> kernel;
  double expected = 0;
  std::map<std::string, double> before;
  for (int step = 0; step < 500; ++step) {
    for (std::uint64_t cookie = 1000; cookie < 1020; ++cookie) {
      const auto at = kernel.find(cookie);
      if (at != kernel.end() && below(5) == 0) {
        kernel.erase(at);  // seen to be gone: the next reading is without it
        continue;
      }
      const std::uint64_t more = below(100);
      if (at != kernel.end() && below(10) == 0 && at->second.sent > 0) {
        at->second = {.opened = 0, .closed = 0, .sent = at->second.sent - 1, .received = 0};  // from 0, to less
        expected += static_cast<double>(at->second.sent);
        continue;
      }
      kernel[cookie].sent += more;
      kernel[cookie].opened += 1;
      expected += static_cast<double>(more);
    }
    std::vector<Row> rows;
    for (const auto& [cookie, traffic] : kernel) rows.push_back(row(cookie, 0, 0, traffic));
    std::ranges::shuffle(rows, random);
    observe(meter, rows);
    const auto now = values(meter, kReceived);
    double total = 0;
    for (const auto& [key, value] : now) {
      CHECK(value >= before[key]);
      total += value;
    }
    CHECK(total == expected);
    CHECK(now.size() >= before.size());
    before = now;
  }
}
