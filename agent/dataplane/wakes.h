// SPDX-License-Identifier: Apache-2.0
// The ring buffer by which BPF asks the agent to look at a connection now instead of at its next tick.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "underpass/result.h"

struct ring_buffer;

namespace underpass::dataplane {

class Wakes {
 public:
  static Result<std::unique_ptr<Wakes>> open(int map_fd);

  // Readable when there is something to take; to wait on, not to read.
  [[nodiscard]] int fd() const;
  // Ids of the connections, as often as they were named.
  std::vector<std::uint64_t> take();

 private:
  struct Free {
    void operator()(ring_buffer* ring) const;
  };
  std::unique_ptr<ring_buffer, Free> ring_;
  std::vector<std::uint64_t> taken_;
};

}  // namespace underpass::dataplane
