// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/wakes.h"

#include <bpf/libbpf.h>

#include <cstring>
#include <utility>

namespace underpass::dataplane {

void Wakes::Free::operator()(ring_buffer* ring) const { ring_buffer__free(ring); }

Result<std::unique_ptr<Wakes>> Wakes::open(int map_fd) {
  std::unique_ptr<Wakes> wakes(new Wakes());
  const auto collect = [](void* taken, void* data, std::size_t size) {
    std::uint64_t id = 0;
    if (size == sizeof(id)) {
      std::memcpy(&id, data, sizeof(id));
      static_cast<std::vector<std::uint64_t>*>(taken)->push_back(id);
    }
    return 0;
  };
  wakes->ring_.reset(ring_buffer__new(map_fd, collect, &wakes->taken_, nullptr));
  if (!wakes->ring_) return fail_errno("open the ring buffer up_wake");
  return wakes;
}

int Wakes::fd() const { return ring_buffer__epoll_fd(ring_.get()); }

std::vector<std::uint64_t> Wakes::take() {
  ring_buffer__consume(ring_.get());
  return std::exchange(taken_, {});
}

}  // namespace underpass::dataplane
