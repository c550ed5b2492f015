// SPDX-License-Identifier: Apache-2.0
// One pod in a worker's hands: its listeners, of which we keep a copy so that what is queued there outlives the worker,
// and whether the programs lead the pod's connections there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/compile/workers.h"
#include "agent/dataplane/worker_maps.h"
#include "agent/workers/socket_maker.h"
#include "underpass/ids.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"
#include "underpass/worker_protocol.h"

namespace underpass::workers {

class Served {
 public:
  struct Held {
    UniqueFd fd;
    std::uint16_t port = 0;
  };

  explicit Served(NetnsCookie netns) : netns_(netns) {}

  // Opens the pod's network namespace, to which `path` leads, unless it is open.
  Result<void> enter(const std::string& path);
  // Makes those that are missing. True: there are new ones.
  Result<bool> make_listeners(SocketMaker& maker, const std::string& path, const compile::WorkerPod& pod);
  // From a worker that an earlier agent left. What it hands back is a listener of this pod's only if it is the one that
  // the programs know.
  void take_back(const dataplane::WorkerMaps& maps, const worker::Listeners& message, std::vector<UniqueFd> fds);
  // For a worker: in the order of the map.
  [[nodiscard]] Result<std::vector<UniqueFd>> copies() const;
  // Sockets to dial with from this pod.
  Result<std::vector<UniqueFd>> make_dials(SocketMaker& maker, bool v6, std::size_t count) const;

  // From here on the programs lead the pod's connections to the worker with this number.
  Result<void> put_in_force(dataplane::WorkerMaps& maps, std::uint32_t number, std::int32_t dials);
  // So many dial sockets are left.
  void update_dials(dataplane::WorkerMaps& maps, std::uint32_t number, std::int32_t dials) const;
  // No new ones.
  void take_out_of_force(dataplane::WorkerMaps& maps);

  [[nodiscard]] const std::map<worker::Listener, Held>& listeners() const { return listeners_; }
  [[nodiscard]] bool in_force() const { return in_force_; }

  bool told = false;    // the worker that is there now has its listeners
  std::string problem;  // why there are none

 private:
  [[nodiscard]] up_worker row_of(std::uint32_t number, std::int32_t dials) const;

  NetnsCookie netns_;
  UniqueFd netns_fd_;
  std::map<worker::Listener, Held> listeners_;
  bool in_force_ = false;
};

}  // namespace underpass::workers
