// SPDX-License-Identifier: Apache-2.0
// Typed access to the pinned maps of workers. File descriptors are borrowed from whoever loaded them.
#pragma once

#include <map>
#include <optional>

#include "underpass/abi.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class WorkerMaps {
 public:
  struct Fds {
    int workers = -1, listeners = -1, heartbeat = -1;
  };
  WorkerMaps() = default;
  explicit WorkerMaps(Fds fds) : fds_(fds) {}

  // While this is called at least every UP_HEARTBEAT_STALE_NS, connections may wait for dial sockets. `full`: up_conns
  // has no room to speak of, so that no more may be led to workers.
  Result<void> beat(bool full);

  // From here on the pod's connections are the worker's, where it listens.
  Result<void> put_worker(NetnsCookie netns, const up_worker& worker);
  void remove_worker(NetnsCookie netns);
  [[nodiscard]] std::optional<up_worker> worker(NetnsCookie netns) const;
  [[nodiscard]] std::map<NetnsCookie, up_worker> workers() const;

  // Puts a listening socket where the programs look; it leaves by itself when nobody has it any more.
  Result<void> put_listener(const up_listener_key& key, int socket_fd);
  void remove_listener(const up_listener_key& key);
  // The cookie of the socket that is there, 0: none.
  [[nodiscard]] SocketCookie listener(const up_listener_key& key) const;

 private:
  Fds fds_;
};

}  // namespace underpass::dataplane
