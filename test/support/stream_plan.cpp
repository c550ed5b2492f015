// SPDX-License-Identifier: Apache-2.0
#include "test/support/stream_plan.h"

#include <algorithm>

#include "test/support/payload.h"

namespace underpass::test {
namespace {

constexpr std::uint64_t kLargestMessage = 1u << 20;
constexpr std::uint64_t kMessages = 2000;  // a stream of one-byte messages is no longer than this

DirectionPlan plan_direction(Random& random, std::uint64_t max_bytes) {
  DirectionPlan plan;
  plan.max_message = random.log_uniform(1, kLargestMessage);
  plan.max_chunk = random.log_uniform(1, kLargestMessage / 4);
  const std::uint64_t most = std::min({max_bytes, plan.max_message * kMessages, plan.max_chunk * kMessages});
  plan.bytes = random.one_in(20) ? 0 : random.log_uniform(1, most);
  return plan;
}

std::string to_string(Family family) {
  switch (family) {
    case Family::kV4:
      return "IPv4";
    case Family::kV6:
      return "IPv6";
    case Family::kV4ToDualStack:
      return "IPv4 to a dual-stack listener";
  }
  return "";
}

std::string to_string(Wait wait) {
  switch (wait) {
    case Wait::kBlocking:
      return "blocking";
    case Wait::kPoll:
      return "poll";
    case Wait::kEpollLevel:
      return "epoll level-triggered";
    case Wait::kEpollEdge:
      return "epoll edge-triggered";
  }
  return "";
}

std::string to_string(const DirectionPlan& plan) {
  std::string text = (plan.bytes == kUntilStopped ? std::string("endless") : std::to_string(plan.bytes) + " bytes") +
                     " in messages of up to " + std::to_string(plan.max_message);
  if (plan.wait_all_from != kNever) text += ", MSG_WAITALL from byte " + std::to_string(plan.wait_all_from);
  if (plan.low_water > 0)
    text += ", SO_RCVLOWAT " + std::to_string(plan.low_water) + (plan.low_water_early ? " early" : "");
  return text;
}

}  // namespace

std::string StreamPlan::to_string() const {
  std::string text = "stream " + std::to_string(seed) + " (client at " + (from_b ? "b" : "a") + ", " +
                     test::to_string(family) + "; client sends " + test::to_string(direction[kClient]) + ", reads " +
                     test::to_string(wait[kClient]) + "; server sends " + test::to_string(direction[kServer]) +
                     ", reads " + test::to_string(wait[kServer]);
  if (closes_last >= 0) text += closes_last == kClient ? "; client closes last" : "; server closes last";
  if (defer_accept) text += "; TCP_DEFER_ACCEPT";
  if (fast_open) text += "; fast open";
  return text + ")";
}

void plan_low_water(DirectionPlan& direction, std::uint64_t seed, bool early) {
  direction.bytes = std::min<std::uint64_t>(direction.bytes, 30000);
  direction.low_water = static_cast<int>(2 + seed * 37 % 4000);
  direction.low_water_early = early;
}

StreamPlan plan_stream(std::uint64_t seed, std::uint64_t max_bytes) {
  Random random(Random::mix(seed));
  StreamPlan plan;
  plan.seed = seed;
  plan.from_b = random.one_in(2);
  plan.family = static_cast<Family>(random.below(3));
  for (DirectionPlan& direction : plan.direction) direction = plan_direction(random, max_bytes);
  for (Wait& wait : plan.wait) wait = static_cast<Wait>(random.below(4));
  plan.closes_last = static_cast<int>(random.below(4)) - 1;
  if (plan.closes_last > kServer) plan.closes_last = -1;
  return plan;
}

}  // namespace underpass::test
