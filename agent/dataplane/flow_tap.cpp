// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/flow_tap.h"

#include <bpf/libbpf.h>

#include <cstring>
#include <utility>

namespace underpass::dataplane {

void FlowTap::Free::operator()(ring_buffer* ring) const { ring_buffer__free(ring); }

Result<std::unique_ptr<FlowTap>> FlowTap::open(int map_fd) {
  std::unique_ptr<FlowTap> tap(new FlowTap());
  const auto collect = [](void* taken, void* data, std::size_t size) {
    up_flow flow{};
    if (size == sizeof(flow)) {
      std::memcpy(&flow, data, sizeof(flow));
      static_cast<std::vector<up_flow>*>(taken)->push_back(flow);
    }
    return 0;
  };
  tap->ring_.reset(ring_buffer__new(map_fd, collect, &tap->taken_, nullptr));
  if (!tap->ring_) return fail_errno("open the ring buffer up_flows");
  return tap;
}

std::vector<up_flow> FlowTap::take() {
  ring_buffer__consume(ring_.get());
  return std::exchange(taken_, {});
}

}  // namespace underpass::dataplane
