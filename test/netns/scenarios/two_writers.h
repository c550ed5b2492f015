// SPDX-License-Identifier: Apache-2.0
// Two threads write records to one socket with a small send buffer, as applications that log or multiplex do. Each
// writer's bytes must arrive complete and in its order. (Whether a record can be torn by one of the other writer is up
// to the kernel: TCP itself tears some at segment boundaries when the buffer is full, so tears are counted and no
// error.)
#pragma once

#include <cstdint>
#include <string>

#include "test/support/pod_net.h"

namespace underpass::test {

struct RecordsReport {
  std::uint64_t records = 0;  // received
  std::uint64_t torn = 0;     // records in which bytes of the other writer stand
  std::string failure;        // the first byte that is not its writer's next, or what else went wrong; empty: nothing
};

inline constexpr std::size_t kRecordSize = 512;

RecordsReport run_two_writers(const Place& client, const Place& server, int family, std::uint64_t bytes);

}  // namespace underpass::test
