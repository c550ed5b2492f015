// SPDX-License-Identifier: Apache-2.0
// What a traffic thread counts of its requests, compared with plain sums, and which of them it keeps as flows.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <vector>

#include "test/unit/telemetry_world.h"
#include "userspace_proxy/telemetry/request_sink.h"

using namespace underpass;
using telemetry::FlowTap;
using telemetry::RequestRecord;
using telemetry::SeriesBook;

namespace {

// Istio's buckets as its documentation has them.
constexpr std::array<double, 19> kBounds{0.5,  1,    5,     10,    25,    50,     100,    250,     500,    1000,
                                         2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

struct Plain {
  std::vector<double> durations, requests, responses;
};

std::array<std::uint64_t, kBuckets> counts_of(const std::vector<double>& values) {
  std::array<std::uint64_t, kBuckets> out{};
  for (const double value : values)
    ++out[static_cast<std::size_t>(std::ranges::find_if(kBounds, [&](double bound) { return value <= bound; }) -
                                   kBounds.begin())];
  return out;
}

}  // namespace

TEST_CASE("series: sums and buckets are those of a plain reference") {
  std::mt19937_64 dice(3);
  const std::array connections{test::record_between(11, 12), test::record_between(11, 13),
                               test::record_between(12, 11, true)};
  SeriesBook book(10'000);
  std::map<RequestKey, Plain> plain;
  for (int i = 0; i < 50'000; ++i) {
    auto request = test::request_over(connections[dice() % connections.size()]);
    // Of every size, and often exactly a bound.
    const auto value = [&] {
      const auto bound = static_cast<std::uint64_t>(kBounds[dice() % kBounds.size()] * 1000);
      return dice() % 2 == 0 ? bound + dice() % 3 - 1 : dice() >> (dice() % 40 + 24);
    };
    request.duration = std::chrono::microseconds(value());
    request.request_bytes = value() / 1000;
    request.response_bytes = value();
    request.grpc = dice() % 4 == 0;
    request.grpc_status = static_cast<int>(dice() % 20) - 1;
    request.status = std::array{200U, 404U, 0U, 99U, 600U, 999U}[dice() % 6];
    request.flag = static_cast<RequestFlag>(dice() % 3);
    request.outbound_reported = dice() % 2 == 0;
    request.inbound_reported = dice() % 2 == 0;
    book.add(request);
    for (const auto reporter : {Reporter::kSource, Reporter::kDestination}) {
      if (!(reporter == Reporter::kSource ? request.outbound_reported : request.inbound_reported)) continue;
      const int code = request.status == 200 || request.status == 404 || request.status == 0
                           ? static_cast<int>(request.status)
                           : kOtherCode;
      const int grpc = !request.grpc ? -1 : std::min(request.grpc_status, 17);
      auto& sums = plain[{.client = request.connection->client_netns,
                          .server = request.connection->server_netns,
                          .service = 9,
                          .code = static_cast<std::uint16_t>(code),
                          .grpc_status = static_cast<std::int8_t>(grpc),
                          .flag = request.flag,
                          .reporter = reporter,
                          .grpc = request.grpc}];
      sums.durations.push_back(static_cast<double>(request.duration.count()) / 1000);
      sums.requests.push_back(static_cast<double>(request.request_bytes));
      sums.responses.push_back(static_cast<double>(request.response_bytes));
    }
  }
  const auto series = book.take();
  REQUIRE(series.size() == plain.size());
  for (const auto& [key, counts] : series) {
    REQUIRE(plain.contains(key));
    const auto& sums = plain.at(key);
    CHECK(counts.requests == sums.durations.size());
    CHECK(counts.duration.counts == counts_of(sums.durations));
    CHECK(counts.request_bytes.counts == counts_of(sums.requests));
    CHECK(counts.response_bytes.counts == counts_of(sums.responses));
    double micros = 0;
    for (const double duration : sums.durations) micros += duration * 1000;
    CHECK(static_cast<double>(counts.duration.sum) == doctest::Approx(micros));
  }
  CHECK(book.take().empty());
}

TEST_CASE("series: what exceeds the bound is counted together, for each pod and reporter") {
  SeriesBook book(10);
  std::uint64_t added = 0;
  for (NetnsCookie server = 100; server < 200; ++server) {
    const auto connection = test::record_between(11, server);
    for (const unsigned code : {200U, 503U}) {
      auto request = test::request_over(connection);
      request.status = code;
      book.add(request);
      ++added;
    }
  }
  const auto series = book.take();
  REQUIRE(series.size() == 11);
  std::uint64_t counted = 0;
  for (const auto& one : series) counted += one.counts.requests;
  CHECK(counted == added);
  CHECK(series.back().key == RequestKey{.client = 11, .reporter = Reporter::kSource, .overflow = true});
  CHECK(series.back().counts.requests == added - 10);
}

TEST_CASE("series: a request that no reporter has is not counted, one that nobody knows is") {
  SeriesBook book;
  RequestRecord request;
  book.add(request);
  CHECK(book.take().empty());
  request.inbound_reported = true;
  book.add(request);
  CHECK(book.take().at(0).key == RequestKey{.reporter = Reporter::kDestination});
}

TEST_CASE("flow tap: denied requests always, others while somebody follows, and no more than so many") {
  const auto connection = test::record_between(11, 12);
  auto request = test::request_over(connection);
  request.path = "/a\nb";
  request.method = std::string(10'000, 'M');
  FlowTap tap;
  tap.add(request);
  CHECK(tap.take() == RequestFlows{});
  for (const auto flag : {RequestFlag::kDenied, RequestFlag::kUnauthorized, RequestFlag::kBadToken}) {
    request.flag = flag;
    tap.add(request);
    REQUIRE(tap.take().flows.size() == 1);
  }
  tap.follow(true);
  request.flag = RequestFlag::kNone;
  for (std::size_t i = 0; i < FlowTap::kMostOthers + 3; ++i) tap.add(request);
  request.flag = RequestFlag::kDenied;
  for (std::size_t i = 0; i < FlowTap::kMostDenied + 4; ++i) tap.add(request);
  const auto taken = tap.take();
  CHECK(taken.flows.size() == FlowTap::kMostOthers + FlowTap::kMostDenied);
  CHECK(taken.skipped == 7);
  CHECK(taken.flows[0].path ==
        "/a\xef\xbf\xbd"
        "b");
  CHECK(taken.flows[0].method.size() == kMostFlowText);
  CHECK(taken.flows[0].client == 11);
  CHECK(taken.flows[0].duration_us == 1234);
  CHECK(taken.flows[0].client_port == 40000);
  tap.follow(false);
  request.flag = RequestFlag::kNone;
  tap.add(request);
  CHECK(tap.take() == RequestFlows{});
}

TEST_CASE("request sink: one request is one line, one count and, followed, one flow") {
  std::string lines;
  telemetry::RequestSink sink(lines);
  sink.follow(true);
  const auto connection = test::record_between(11, 12);
  sink.add(test::request_over(connection));
  CHECK(std::ranges::count(lines, '\n') == 1);
  CHECK(sink.take_series().at(0).counts.requests == 1);
  CHECK(sink.take_flows().flows.size() == 1);
}
