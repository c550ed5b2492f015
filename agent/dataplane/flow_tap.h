// SPDX-License-Identifier: Apache-2.0
// The ring buffer of connections that began and ended. Who does not take them in time loses them, and BPF counts that.
#pragma once

#include <memory>
#include <vector>

#include "underpass/abi.h"
#include "underpass/result.h"

struct ring_buffer;

namespace underpass::dataplane {

class FlowTap {
 public:
  static Result<std::unique_ptr<FlowTap>> open(int map_fd);

  // In the order in which they happened.
  std::vector<up_flow> take();

 private:
  struct Free {
    void operator()(ring_buffer* ring) const;
  };
  std::unique_ptr<ring_buffer, Free> ring_;
  std::vector<up_flow> taken_;
};

}  // namespace underpass::dataplane
