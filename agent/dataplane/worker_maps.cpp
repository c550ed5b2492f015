// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/worker_maps.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <string>

#include "agent/dataplane/dataplane.h"

namespace underpass::dataplane {
namespace {

Result<void> put(int fd, const char* map, const void* key, const void* value) {
  if (bpf_map_update_elem(fd, key, value, BPF_ANY) == 0) return {};
  if (errno == E2BIG) return fail(std::string(map) + " is full");
  return fail_errno(std::string("write ") + map);
}

}  // namespace

Result<void> WorkerMaps::beat(bool full) {
  const __u32 only = 0;
  const up_heartbeat heartbeat{.beat_ns = monotonic_ns(), .full = full ? 1u : 0u, .pad = 0};
  return put(fds_.heartbeat, "up_heartbeat", &only, &heartbeat);
}

Result<void> WorkerMaps::put_worker(NetnsCookie netns, const up_worker& worker) {
  return put(fds_.workers, "up_workers", &netns, &worker);
}

void WorkerMaps::remove_worker(NetnsCookie netns) { bpf_map_delete_elem(fds_.workers, &netns); }

std::map<NetnsCookie, up_worker> WorkerMaps::workers() const {
  std::map<NetnsCookie, up_worker> out;
  NetnsCookie key = 0;
  for (const void* at = nullptr; bpf_map_get_next_key(fds_.workers, at, &key) == 0; at = &key) {
    up_worker worker{};
    if (bpf_map_lookup_elem(fds_.workers, &key, &worker) == 0) out.emplace(key, worker);
  }
  return out;
}

Result<void> WorkerMaps::put_listener(const up_listener_key& key, int socket_fd) {
  const auto value = static_cast<__u64>(socket_fd);
  return put(fds_.listeners, "up_listeners", &key, &value);
}

void WorkerMaps::remove_listener(const up_listener_key& key) { bpf_map_delete_elem(fds_.listeners, &key); }

SocketCookie WorkerMaps::listener(const up_listener_key& key) const {
  SocketCookie cookie = 0;
  return bpf_map_lookup_elem(fds_.listeners, &key, &cookie) == 0 ? cookie : 0;
}

}  // namespace underpass::dataplane
