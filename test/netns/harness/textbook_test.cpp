// SPDX-License-Identifier: Apache-2.0
// Do the integrity tests find what they are there to find? The textbook's sockmap acceleration is known to corrupt, to
// leak and to queue without bound (DESIGN: short-circuit that can be trusted): each scenario must be right over plain
// TCP, and must catch the textbook.
#include <doctest/doctest.h>

#include "test/netns/foreign.h"
#include "test/netns/scenarios/loopback_twins.h"
#include "test/netns/scenarios/stalled_reader.h"
#include "test/netns/scenarios/two_writers.h"
#include "test/support/sandbox.h"
#include "test/support/streams.h"

namespace underpass::test {
namespace {

// Two pods, over plain TCP until accelerate() is called.
struct Ground {
  Sandbox sandbox;
  PodNet net;
  Place a = net.add("a");
  Place b = net.add("b");
  ForeignPrograms textbook{sandbox.cgroup()};

  void accelerate(ForeignPrograms::Redirects redirects = ForeignPrograms::Redirects::kAll) {
    textbook.attach_sockmap(redirects);
  }
};

StreamsReport deferred_streams(const Ground& ground) {
  return run_streams({.a = ground.a, .b = ground.b, .count = 300, .adjust = [](StreamPlan& plan) {
                        plan.family = Family::kV4;
                        plan.defer_accept = true;
                        if (plan.closes_last == kClient) plan.closes_last = -1;  // its first message must not wait
                        plan.direction[kClient].bytes += 10;
                        plan.direction[kClient].pause_one_in = 1000000;
                        plan.patience = milliseconds(3000);
                      }});
}

TEST_CASE("a server with TCP_DEFER_ACCEPT: right over TCP, wrong over the textbook's sockmap") {
  Ground ground;
  const StreamsReport plain = deferred_streams(ground);
  INFO(plain.to_string());
  CHECK(plain.ok());
  ground.accelerate();
  const StreamsReport accelerated = deferred_streams(ground);
  REQUIRE_FALSE(accelerated.ok());
  MESSAGE("the textbook: " << accelerated.failures.front());
}

TEST_CASE("two writers: right over TCP, wrong where some messages overtake") {
  Ground ground;
  for (const int family : {AF_INET, AF_INET6}) {
    const RecordsReport plain = run_two_writers(ground.a, ground.b, family, 100u << 20);
    MESSAGE("TCP: torn " << plain.torn << " of " << plain.records);
    CHECK(plain.failure == "");
  }
  ground.accelerate(ForeignPrograms::Redirects::kSome);
  const RecordsReport accelerated = run_two_writers(ground.a, ground.b, AF_INET, 100u << 20);
  MESSAGE("the textbook: " << accelerated.failure);
  CHECK(accelerated.failure.find("and not its byte") != std::string::npos);
}

TEST_CASE("a stalled reader: bounded over TCP, without bound over the textbook's sockmap") {
  Ground ground;
  for (const std::size_t message : {std::size_t{65536}, std::size_t{1}}) {
    const StallReport plain = run_stalled_reader(ground.a, ground.b, AF_INET6, {.message = message});
    MESSAGE("TCP: " << plain.to_string());
    CHECK(plain.failure.empty());
  }
  ground.accelerate();
  const StallReport bulk = run_stalled_reader(ground.a, ground.b, AF_INET, {.message = 65536});
  MESSAGE("the textbook, 64 KiB: " << bulk.to_string());
  CHECK(bulk.failure == "nothing stopped the sender");
  CHECK(bulk.sockets >= (64u << 20));
  const StallReport bytes = run_stalled_reader(ground.a, ground.b, AF_INET, {.message = 1, .most_messages = 200'000});
  MESSAGE("the textbook, 1 byte: " << bytes.to_string());
  CHECK(bytes.message_objects > 100000);
}

TEST_CASE("the same loopback ports in two pods: apart over TCP, crossed over the textbook's sockmap") {
  Ground ground;
  for (const int family : {AF_INET, AF_INET6}) CHECK(run_loopback_twins(ground.a, ground.b, family) == "");
  ground.accelerate();
  const std::string crossed = run_loopback_twins(ground.a, ground.b, AF_INET);
  MESSAGE("the textbook: " << crossed);
  CHECK_FALSE(crossed.empty());
}

}  // namespace
}  // namespace underpass::test
