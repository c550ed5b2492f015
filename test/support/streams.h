// SPDX-License-Identifier: Apache-2.0
// Many checked streams between two places at a time: a given number of them, or traffic that goes on in the background
// while a test does something to the mesh.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "test/support/pod_net.h"
#include "test/support/stream_plan.h"

namespace underpass::test {

struct StreamsReport {
  std::uint64_t streams = 0;            // run to their end
  std::uint64_t bytes = 0;              // received and right
  std::uint64_t false_eagain = 0;       // blocking reads that said EAGAIN
  std::vector<std::string> failures{};  // at most kMostFailures, with what replays them

  [[nodiscard]] bool ok() const { return failures.empty(); }
  [[nodiscard]] std::string to_string() const;
};
inline constexpr std::size_t kMostFailures = 10;

// The last word on a plan, after chance has spoken.
using AdjustPlan = std::function<void(StreamPlan&)>;

struct StreamsOptions {
  Place a;
  Place b;
  std::uint64_t count = 0;       // streams; UNDERPASS_STREAMS overrides it
  std::uint64_t first_seed = 1;  // UNDERPASS_SEED overrides it; the streams have this seed and those that follow
  unsigned concurrency = 50;
  AdjustPlan adjust{};
};

StreamsReport run_streams(const StreamsOptions& options);

// Traffic in the background, from its construction until stop(): some streams that last all the time, and some that are
// made anew all the time.
class Traffic {
 public:
  struct Options {
    Place a;
    Place b;
    unsigned lasting = 8;
    unsigned renewed = 4;
    AdjustPlan adjust{};  // of the renewed ones
  };

  explicit Traffic(Options options);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  // Bytes received so far, in streams that have ended and in those that last.
  [[nodiscard]] std::uint64_t streams_ended() const { return streams_.load(); }
  [[nodiscard]] bool failed();
  // Ends everything in an orderly way: each stream is checked to its last byte.
  StreamsReport stop();

 private:
  void run(bool lasting, std::uint64_t seed);

  const Options options_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> streams_ = 0;
  std::atomic<std::uint64_t> next_seed_;
  std::mutex mutex_;
  StreamsReport report_;
  std::vector<std::thread> threads_;
};

}  // namespace underpass::test
