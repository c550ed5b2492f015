// SPDX-License-Identifier: Apache-2.0
// Two agents on one node, as a rolling update with a surge makes them. The new one waits until it could work: the API
// server has told it everything. Then it asks the old one, by the admin socket, to retire: that hands over what it
// listens on, lets go of everything else at once, and what is pinned works on. Retired it idles until it is told to
// stop; if its successor ends before that, it ends too, so that the kubelet starts it again and it works as before.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/ipc/listeners.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass {

struct TakeoverOptions {
  std::string run_dir;
  std::string instance;  // ours: another than that of every other agent
  std::string kubeconfig;
  std::string node_name;
  std::optional<NamespacedName> daemon_set;
};

class Takeover {
 public:
  // What the agent before listened on.
  using Done = std::function<void(Result<ipc::Listeners>)>;

  // `done`: nobody works on this node any more; or why somebody still does. From the io_context's thread, and at once
  // where nobody did.
  static std::unique_ptr<Takeover> begin(boost::asio::io_context& io, TakeoverOptions options, Done done);
  virtual ~Takeover() = default;
};

// Calls `ended` when that process has ended. Null: it has already, or cannot be watched.
class Successor {
 public:
  static std::unique_ptr<Successor> watch(boost::asio::io_context& io, pid_t pid, std::function<void()> ended);
  virtual ~Successor() = default;
};

}  // namespace underpass
