// SPDX-License-Identifier: Apache-2.0
// Counts the writes to BPF maps that a process makes, by the kernel's own tracepoint of bpf(): what an agent says of
// itself would be no measurement.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "underpass/unique_fd.h"

namespace underpass::bench {

class MapWrites {
 public:
  // Of the threads that `pid` has now, from now on.
  explicit MapWrites(pid_t pid);

  // bpf() calls that update or delete entries, one by one or in batches.
  [[nodiscard]] std::uint64_t count() const;

 private:
  std::vector<UniqueFd> counters_;  // one for each thread
};

}  // namespace underpass::bench
