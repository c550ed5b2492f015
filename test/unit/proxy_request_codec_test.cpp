// SPDX-License-Identifier: Apache-2.0
// Series and flows of requests on their way to the agent: they come as they went, the longest fit into a packet, and
// what is out of range is refused.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "underpass/worker_codec.h"
#include "userspace_proxy/control/request_packets.h"
#include "userspace_proxy/log/text.h"

using namespace underpass;

namespace {

constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();

Histogram histogram(std::uint64_t requests) {
  Histogram out{.sum = worker::codec::kMostSum};
  out.counts.fill(requests / kBuckets);
  out.counts.back() += requests % kBuckets;
  return out;
}

RequestSeries longest_series() {
  const auto requests = worker::codec::kMostRequests;
  return {.key = {.client = kMost,
                  .server = kMost,
                  .service = 4294967295U,
                  .code = 599,
                  .grpc_status = 16,
                  .flag = RequestFlag::kUnauthorized,
                  .reporter = Reporter::kDestination,
                  .grpc = false,
                  .overflow = false},
          .counts = {.requests = requests,
                     .duration = histogram(requests),
                     .request_bytes = histogram(requests),
                     .response_bytes = histogram(requests)}};
}

RequestFlow longest_flow() {
  const std::string text = log::clean(std::string(10'000, '"'), kMostFlowText);
  const auto ip = *IpAddress::parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  return {.started_us = worker::codec::kLatest,
          .duration_us = worker::codec::kMostSum,
          .upstream_us = worker::codec::kMostSum,
          .client = kMost,
          .server = kMost,
          .service = 4294967295U,
          .client_ip = ip,
          .server_ip = ip,
          .dialled_ip = ip,
          .client_port = 65535,
          .server_port = 65535,
          .dialled_port = 65535,
          .inbound = false,
          .protocol = "http/1.1",
          .method = text,
          .authority = text,
          .path = log::clean(std::string(10'000, '\\'), kMostFlowPath),
          .code = 999,
          .grpc_status = 999,
          .flag = RequestFlag::kUnauthorized,
          .details = text,
          .policy = text,
          .request_bytes = kMost,
          .response_bytes = kMost,
          .request_id = text};
}

std::string refusal(const worker::Message& message) {
  const auto decoded = worker::decode(worker::encode(message));
  return decoded ? "" : decoded.error().message;
}

std::string refusal_of_series(const std::function<void(RequestSeries&)>& change) {
  auto series = longest_series();
  change(series);
  return refusal(worker::Metrics{.series = {series}});
}

std::string refusal_of_flow(const std::function<void(RequestFlow&)>& change) {
  auto flow = longest_flow();
  change(flow);
  return refusal(worker::Requests{.flows = {flow}});
}

}  // namespace

TEST_CASE("request codec: what is sent comes as it went, and the longest of all fits into a packet") {
  RequestSeries plain{.key = {.client = 1}, .counts = {}};
  plain.counts.requests = 1;
  plain.counts.duration.add_micros(1);
  plain.counts.request_bytes.add_bytes(1);
  plain.counts.response_bytes.add_bytes(0);
  for (const auto& series : {longest_series(), plain}) {
    const worker::Metrics sent{.series = std::vector(kSeriesPerPacket, series)};
    CHECK(worker::encode(sent).size() <= worker::kMaxPacket);
    CHECK(std::get<worker::Metrics>(worker::decode(worker::encode(sent)).value()).series == sent.series);
  }
  const std::string name(253, 'n');
  const PolicyNoticeCount longest{.notice = {.server = kMost, .policy = {std::string(63, 'n'), name}, .audited = false},
                                  .requests = worker::codec::kMostRequests};
  for (const auto& notice : {longest, PolicyNoticeCount{}}) {
    const worker::Metrics sent{.series = {}, .notices = std::vector(kNoticesPerPacket, notice)};
    CHECK(worker::encode(sent).size() <= worker::kMaxPacket);
    CHECK(std::get<worker::Metrics>(worker::decode(worker::encode(sent)).value()).notices == sent.notices);
  }
  for (const auto& flow : {longest_flow(), RequestFlow{}}) {
    const worker::Requests sent{.flows = std::vector(kFlowsPerPacket, flow), .skipped = 3};
    CHECK(worker::encode(sent).size() <= worker::kMaxPacket);
    const auto back = std::get<worker::Requests>(worker::decode(worker::encode(sent)).value());
    CHECK(back.flows == sent.flows);
    CHECK(back.skipped == 3);
  }
}

TEST_CASE("request codec: what there cannot be is refused") {
  CHECK(refusal_of_series([](RequestSeries&) {}) == "");
  CHECK(refusal_of_series([](RequestSeries& one) { one.key.code = 600; }) ==
        "packet metrics: series[0].code: 600: not one that there is");
  CHECK(refusal_of_series([](RequestSeries& one) { one.key.code = 2; }) ==
        "packet metrics: series[0].code: 2: not one that there is");
  CHECK(refusal_of_series([](RequestSeries& one) { one.key.grpc_status = 18; }) ==
        "packet metrics: series[0].grpcStatus: not null and not a whole number from 0 to 17");
  CHECK(refusal_of_series([](RequestSeries& one) {
          ++one.counts.requests;
        }).starts_with("packet metrics: series[0].requests: "));
  CHECK(refusal_of_series([](RequestSeries& one) { --one.counts.duration.counts[3]; }) ==
        "packet metrics: series[0].duration: its counts are not those of all requests");
  CHECK(refusal_of_series([](RequestSeries& one) {
          ++one.counts.request_bytes.sum;
        }).starts_with("packet metrics: series[0].requestBytes.sum: "));
  CHECK(refusal(worker::Metrics{.series = std::vector(kSeriesPerPacket + 1, longest_series())}) ==
        "packet metrics: series: more than 32");

  CHECK(refusal_of_flow([](RequestFlow&) {}) == "");
  CHECK(refusal_of_flow([](RequestFlow& one) { one.path += "x"; }) ==
        "packet requests: flows[0].path: more than 512 bytes");
  CHECK(refusal_of_flow([](RequestFlow& one) { one.protocol = "a protocol of nobody"; }) ==
        "packet requests: flows[0].protocol: more than 16 bytes");
  CHECK(refusal_of_flow([](RequestFlow& one) { one.code = 1000; }).starts_with("packet requests: flows[0].code: "));
  CHECK(refusal_of_flow([](RequestFlow& one) { one.path = "\xff"; }).starts_with("packet: not JSON: "));
  CHECK(refusal(worker::Requests{.flows = std::vector(kFlowsPerPacket + 1, RequestFlow{})}) ==
        "packet requests: flows: more than 12");
}

TEST_CASE(
    "request codec: any member that is missing, of another type or strange is refused, and nothing else happens") {
  const auto text = worker::encode(worker::Metrics{.series = {longest_series()}});
  const auto whole = boost::json::parse(text);
  for (const auto& [name, held] : whole.at("series").at(0).as_object()) {
    for (const boost::json::value& instead :
         {boost::json::value(nullptr), boost::json::value("x"), boost::json::value(-1), boost::json::value(1.5),
          boost::json::value(boost::json::array()), boost::json::value(boost::json::object())}) {
      if (name == "grpcStatus" && instead.is_null()) continue;
      auto changed = whole;
      changed.at("series").at(0).as_object()[name] = instead;
      CHECK_MESSAGE(!worker::decode(boost::json::serialize(changed)), name);
    }
    auto without = whole;
    without.at("series").at(0).as_object().erase(name);
    CHECK_MESSAGE(!worker::decode(boost::json::serialize(without)), name);
  }
  std::mt19937 dice(7);
  for (int round = 0; round < 20'000; ++round) {
    auto garbled = text;
    for (auto changes = 1 + dice() % 3; changes > 0; --changes)
      garbled[dice() % garbled.size()] = static_cast<char>(dice());
    const auto decoded = worker::decode(garbled);
    if (!decoded) continue;
    for (const auto& series : std::get<worker::Metrics>(*decoded).series)
      CHECK(std::accumulate(series.counts.duration.counts.begin(), series.counts.duration.counts.end(), 0ULL) ==
            series.counts.requests);
  }
}

TEST_CASE("request packets: everything is told once, in parts that are allowed") {
  control::ToldRequests told;
  for (std::uint64_t i = 0; i < 100; ++i) told.series.push_back({.key = {.client = i}, .counts = {}});
  for (std::uint64_t i = 0; i < 25; ++i) told.flows.flows.push_back({.started_us = i});
  told.flows.skipped = 9;
  for (std::uint64_t i = 0; i < 70; ++i) told.notices.push_back({.notice = {.server = i}, .requests = 1});
  std::uint64_t series = 0, flows = 0, skipped = 0, notices = 0;
  for (const auto& packet : control::packets_of(told)) {
    REQUIRE(refusal(packet) == "");
    if (const auto* metrics = std::get_if<worker::Metrics>(&packet)) {
      for (const auto& one : metrics->series) CHECK(one.key.client == series++);
      for (const auto& one : metrics->notices) CHECK(one.notice.server == notices++);
    }
    if (const auto* requests = std::get_if<worker::Requests>(&packet)) {
      for (const auto& one : requests->flows) CHECK(one.started_us == flows++);
      skipped += requests->skipped;
    }
  }
  CHECK(series == 100);
  CHECK(notices == 70);
  CHECK(flows == 25);
  CHECK(skipped == 9);
  CHECK(control::packets_of({}).empty());
}
