// SPDX-License-Identifier: Apache-2.0
// Many connections at a time from one client process to one server process, both event loops: enough to keep what
// stands between them busy.
#pragma once

#include <cstddef>
#include <functional>

#include "test/bench/stream.h"

namespace underpass::bench {

// Gbit/s of `connections` that are written to as fast as they take it, measured at the reader. A fifth of `duration`
// warms up before it begins.
double measure_many_bulks(const Pair& pair, int connections, std::size_t write_bytes, Seconds duration);

// Connections a second, `at_once` of them open at any time: connect, one byte there, one byte back, and close, the
// client first. A tenth of `connections` more warms up.
double measure_many_connects(const Pair& pair, int at_once, int connections);

// Calls `meanwhile` while so many connections stand, after a byte each way.
void with_idle_connections(const Pair& pair, int connections, const std::function<void()>& meanwhile);

}  // namespace underpass::bench
