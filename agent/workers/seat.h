// SPDX-License-Identifier: Apache-2.0
// The place of one worker: what it serves, the process that is there now, and what must outlive it.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agent/compile/workers.h"
#include "agent/workers/served.h"
#include "agent/workers/worker.h"

namespace underpass::workers {

using Clock = std::chrono::steady_clock;

// A worker that dies so often within a minute is left alone for a while, and longer each time.
inline constexpr std::size_t kCrashes = 5;
inline constexpr auto kCrashWindow = std::chrono::minutes(1);
inline constexpr auto kFirstBackOff = std::chrono::seconds(10);
inline constexpr auto kLongestBackOff = std::chrono::minutes(5);
// So long a worker may say nothing.
inline constexpr auto kSilence = std::chrono::seconds(10);
// Dial sockets that a worker gets in a second at the most: to make them is the agent's time.
inline constexpr std::size_t kDialsASecond = 50'000;

// So long after somebody followed requests last they are still told.
inline constexpr auto kFollowed = std::chrono::seconds(5);

struct Seat {
  compile::WorkerPlan plan;
  std::uint32_t number = 0;  // up_worker.number
  std::uint64_t revision = 0;
  std::map<NetnsCookie, Served> pods;
  std::map<NetnsCookie, Clock::time_point> left;  // pods that were its: until when their connections may run

  std::unique_ptr<Worker> current;
  Clock::time_point seated;  // when it came
  bool greeted = false;      // hello, and what it brought, is heard
  bool ready = false;        // a routing table is in force
  bool follows = false;      // it was told to tell requests
  // Of another version than this agent's: takes over from `current` when it is ready.
  std::unique_ptr<Worker> successor;

  std::size_t dials_made = 0;  // in this second, because it wanted them
  std::string problem;
  std::uint64_t restarts = 0;
  std::deque<Clock::time_point> crashes;
  std::optional<Clock::time_point> retry_at;  // nobody is there, or no successor, until then
  std::chrono::seconds back_off = kFirstBackOff;
  std::string cgroup;
};

// Counts a crash; true: that was one too many.
inline bool crashed_too_often(Seat& seat, Clock::time_point now) {
  seat.crashes.push_back(now);
  while (now - seat.crashes.front() > kCrashWindow) seat.crashes.pop_front();
  return seat.crashes.size() >= kCrashes;
}

}  // namespace underpass::workers
