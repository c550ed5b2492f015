// SPDX-License-Identifier: Apache-2.0
// What lifecycle tests ask again and again.
#pragma once

#include <string>

#include "test/support/sockets.h"
#include "test/support/streams.h"
#include "test/support/world.h"

namespace underpass::test {

// The way of a new connection as the kernel's own record has it, without asking the agent; "none": no record, it is not
// seen at all.
inline std::string way_in_kernel(const World& world, const Place& client, const Place& server, int family = AF_INET) {
  const Pair pair = make_pair_between(client, server, family);
  exchange(pair.client.get(), pair.server.get());
  const std::optional<up_conn> record = world.pinned.connection(pair.client.get());
  if (!record) return "none";
  if (record->way != UP_WAY_SHORT_CIRCUIT) return "direct";
  return record->dir[UP_CLIENT].redirected_bytes > 0 && record->dir[UP_SERVER].redirected_bytes > 0 ? "short-circuit"
                                                                                                    : "mapped only";
}

// Lets traffic run for a while, or until it has failed. The wait is for `streams` to end, so it is as long as it must
// be.
inline void let_run(Traffic& traffic, std::uint64_t streams) {
  const std::uint64_t until = traffic.streams_ended() + streams;
  (void)eventually(seconds(60), [&] { return traffic.failed() || traffic.streams_ended() >= until; });
}

}  // namespace underpass::test
