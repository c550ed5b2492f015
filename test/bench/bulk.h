// SPDX-License-Identifier: Apache-2.0
// How many bytes one connection carries when the client writes as fast as it can: blocking writes of one size, a reader
// with a large buffer. Measured where it counts, at the reader.
#pragma once

#include <cstddef>

#include "test/bench/stream.h"

namespace underpass::bench {

inline constexpr std::size_t kBulkReadBytes = 128 * 1024;

// Gbit/s. A fifth of `duration` warms up before it begins.
double measure_bulk(const Pair& pair, std::size_t write_bytes, Seconds duration, const WhileOpen& while_open = {});

}  // namespace underpass::bench
