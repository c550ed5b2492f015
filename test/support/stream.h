// SPDX-License-Identifier: Apache-2.0
// Runs one planned stream over real sockets: both ends write and read at once, each reader checks every byte, its place
// and the end of the stream. A stream without progress is ended and reported.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "test/support/pod_net.h"
#include "test/support/stream_plan.h"

namespace underpass::test {

struct StreamOutcome {
  std::uint64_t bytes = 0;         // received and right, both directions
  std::string failure{};           // empty: none
  std::uint64_t false_eagain = 0;  // how often a blocking read said EAGAIN; it was repeated
};

// `stop` ends directions that are planned kUntilStopped.
StreamOutcome run_stream(const StreamPlan& plan, const Place& a, const Place& b, const std::atomic<bool>& stop);

}  // namespace underpass::test
