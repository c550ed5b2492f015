// SPDX-License-Identifier: Apache-2.0
// How many connections a second one client can use up: connect, one byte each way, close, one after the other; and what
// of it a single connect() costs.
#pragma once

#include "test/bench/stream.h"

namespace underpass::bench {

// Connections a second. A number of connections rather than a duration: each leaves a TIME_WAIT behind, and a client
// has one for every port of net.ipv4.ip_local_port_range. A tenth of them warms up. Where the server's port is a fixed
// one the client resets: else connect() would look through the ports of the slices before.
struct ConnectRate {
  double per_second = 0;
  double first_byte_us = 0;  // the median from before connect() to the first byte of the answer
};
ConnectRate measure_connects(const Pair& pair, int connections);
inline double measure_connect_rate(const Pair& pair, int connections) {
  return measure_connects(pair, connections).per_second;
}

// The median duration of connect(), in µs. `type`: SOCK_STREAM, or SOCK_DGRAM, where nothing is sent. Leaves no
// TIME_WAIT.
double measure_connect_call(const Pair& pair, int type, int connections);

}  // namespace underpass::bench
