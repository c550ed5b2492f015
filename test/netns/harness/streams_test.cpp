// SPDX-License-Identifier: Apache-2.0
// The measuring instrument itself: over plain TCP it must find nothing, and every kind of damage must be found where it
// was done.
#include <doctest/doctest.h>

#include "test/support/eventually.h"
#include "test/support/payload.h"
#include "test/support/stream.h"
#include "test/support/streams.h"

namespace underpass::test {
namespace {

TEST_CASE("streams over plain TCP between two pods show no difference") {
  PodNet net;
  const Place a = net.add("a");
  const Place b = net.add("b");
  const StreamsReport report = run_streams({.a = a, .b = b, .count = 2000});
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(report.streams > 0);
}

TEST_CASE("a second run of a seed makes the same stream") {
  CHECK(plan_stream(77).to_string() == plan_stream(77).to_string());
  CHECK(plan_stream(77).to_string() != plan_stream(78).to_string());
}

TEST_CASE("bytes out of place are told from where they come") {
  const Payload payload(5);
  std::string bytes(16, '\0');
  for (const std::uint64_t offset : {0ull, 3ull, 4096ull, 123456789ull}) {
    payload.fill(offset, bytes);
    CHECK(payload.find(bytes) == offset);
    CHECK_FALSE(Payload(6).find(bytes));
  }
}

StreamPlan faulty(Fault fault) {
  StreamPlan plan = plan_stream(9);
  plan.direction[kClient] = {.bytes = 300000, .max_message = 20000, .max_chunk = 5000};
  plan.direction[kServer] = {.bytes = 200000, .max_message = 3000, .max_chunk = 50000};
  plan.fault = fault;
  return plan;
}

TEST_CASE("damage is found where it was done") {
  using Kind = Fault::Kind;
  const std::atomic<bool> stop = true;
  for (const int direction : {kClient, kServer}) {
    for (const Kind kind : {Kind::kFlipByte, Kind::kDropByte, Kind::kRepeatByte, Kind::kSwapHalves, Kind::kEndEarly}) {
      const StreamOutcome outcome = run_stream(faulty({kind, direction, 123456}), Place{}, Place{}, stop);
      CAPTURE(static_cast<int>(kind));
      INFO(outcome.failure);
      REQUIRE_FALSE(outcome.failure.empty());
      if (kind == Kind::kFlipByte) CHECK(outcome.failure.find("byte 123456 is wrong") != std::string::npos);
      if (kind == Kind::kDropByte) CHECK(outcome.failure.find("byte 123456 is wrong") != std::string::npos);
      if (kind == Kind::kRepeatByte) CHECK(outcome.failure.find("byte 123457 is wrong") != std::string::npos);
      if (kind == Kind::kDropByte) CHECK(outcome.failure.find("stands at byte 123457 (1)") != std::string::npos);
      if (kind == Kind::kEndEarly) CHECK(outcome.failure.find("end of the stream after 123456") != std::string::npos);
    }
  }
  CHECK(run_stream(faulty({}), Place{}, Place{}, stop).failure.empty());
  StreamPlan silent = faulty({Kind::kFallSilent, kServer, 1000});
  silent.patience = milliseconds(300);
  const std::string stuck = run_stream(silent, Place{}, Place{}, stop).failure;
  INFO(stuck);
  CHECK(stuck.find("stuck: ") != std::string::npos);
}

TEST_CASE("reads that TCP keeps whole are seen whole") {
  const StreamsReport report =
      run_streams({.a = {}, .b = {}, .count = 200, .adjust = [](StreamPlan& plan) {
                     plan.wait = {Wait::kBlocking, Wait::kBlocking};
                     plan.direction[plan.seed % 2].wait_all_from = 0;
                     plan_low_water(plan.direction[1 - plan.seed % 2], plan.seed, plan.seed % 3 == 0);
                   }});
  INFO(report.to_string());
  CHECK(report.ok());
}

TEST_CASE("traffic in the background ends in order") {
  Traffic traffic({.a = {}, .b = {}});
  REQUIRE(eventually(seconds(20), [&] { return traffic.streams_ended() > 50 || traffic.failed(); }));
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(report.bytes > 100000);
}

}  // namespace
}  // namespace underpass::test
