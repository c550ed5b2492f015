// SPDX-License-Identifier: Apache-2.0
// How many connections a second one client can use up: connect, one byte each way, close, one after the other.
#pragma once

#include "test/bench/stream.h"

namespace underpass::bench {

// Connections a second. A number of connections rather than a duration: each leaves a TIME_WAIT behind, and a client
// has one for every port of net.ipv4.ip_local_port_range. A tenth of them warms up.
double measure_connect_rate(const Pair& pair, int connections);

}  // namespace underpass::bench
