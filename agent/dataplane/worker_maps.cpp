// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/worker_maps.h"

#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/map_access.h"

namespace underpass::dataplane {
Result<void> WorkerMaps::beat(bool full) {
  const __u32 only = 0;
  const up_heartbeat heartbeat{.beat_ns = monotonic_ns(), .full = full ? 1u : 0u, .pad = 0};
  return write_map(fds_.heartbeat, "up_heartbeat", &only, &heartbeat);
}

Result<void> WorkerMaps::put_worker(NetnsCookie netns, const up_worker& worker) {
  return write_map(fds_.workers, "up_workers", &netns, &worker);
}

void WorkerMaps::remove_worker(NetnsCookie netns) { bpf_map_delete_elem(fds_.workers, &netns); }

std::optional<up_worker> WorkerMaps::worker(NetnsCookie netns) const {
  up_worker worker{};
  if (bpf_map_lookup_elem(fds_.workers, &netns, &worker) != 0) return std::nullopt;
  return worker;
}

std::map<NetnsCookie, up_worker> WorkerMaps::workers() const {
  std::map<NetnsCookie, up_worker> out;
  for_each_key<NetnsCookie>(fds_.workers, [&](NetnsCookie netns) {
    if (const auto row = worker(netns)) out.emplace(netns, *row);
  });
  return out;
}

Result<void> WorkerMaps::put_listener(const up_listener_key& key, int socket_fd) {
  const auto value = static_cast<__u64>(socket_fd);
  return write_map(fds_.listeners, "up_listeners", &key, &value);
}

void WorkerMaps::remove_listener(const up_listener_key& key) { bpf_map_delete_elem(fds_.listeners, &key); }

SocketCookie WorkerMaps::listener(const up_listener_key& key) const {
  SocketCookie cookie = 0;
  return bpf_map_lookup_elem(fds_.listeners, &key, &cookie) == 0 ? cookie : 0;
}

}  // namespace underpass::dataplane
