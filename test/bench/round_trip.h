// SPDX-License-Identifier: Apache-2.0
// How long a message takes there and back: one connection, blocking send() and recv(), TCP_NODELAY.
#pragma once

#include <cstddef>
#include <cstdint>

#include "test/bench/stream.h"

namespace underpass::bench {

struct RoundTrip {
  double median_us = 0;
  double mean_us = 0;
  double p99_us = 0;
  std::uint64_t count = 0;
};

// A fifth of `duration` warms up before it begins. The server answers once it has the whole message.
RoundTrip measure_round_trip(const Pair& pair, std::size_t bytes, Seconds duration, const WhileOpen& while_open = {});

}  // namespace underpass::bench
