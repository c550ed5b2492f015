// SPDX-License-Identifier: Apache-2.0
// Taking the node or a namespace out of the mesh and back: as operators ask (`underpassctl detach`), as the label
// underpass.dev/mesh of the Node says, and for good when Underpass is removed. What holds is kept in the state folder,
// so that an agent that starts anew attaches nothing that is to be left alone.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "agent/admin/detached_marker.h"
#include "agent/admin/protocol.h"
#include "agent/admin/server.h"
#include "agent/dataplane/detach.h"
#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass {

class Detaching {
 public:
  // What it needs of the agent.
  struct Hooks {
    std::function<bool()> attached;
    std::function<Result<void>()> attach;
    std::function<void()> let_go;  // of every descriptor that would keep the programs alive
    std::function<void()> recompile;
    std::function<bool(const std::string& ns)> knows_namespace;
  };

  Detaching(boost::asio::io_context& io, std::string state_dir, Hooks hooks);
  ~Detaching();
  Detaching(const Detaching&) = delete;
  Detaching& operator=(const Detaching&) = delete;

  Result<void> load();
  [[nodiscard]] const admin::DetachedMarker& marker() const { return marker_; }

  void detach(const boost::json::object& request, std::string pin_dir, admin::Reply reply);
  void attach(const boost::json::object& request, const admin::Reply& reply);
  // What the own Node's label says now; may start a detach or an attach.
  void follow_label(bool detached, std::string pin_dir);
  // Takes everything away and remembers nothing; `done` is called from the io_context's thread.
  void remove(std::string pin_dir, std::chrono::milliseconds timeout, std::function<void()> done);

 private:
  using Done = std::function<void(Result<dataplane::DetachResult>)>;

  Result<void> save(admin::DetachedMarker marker);
  void start(std::string pin_dir, std::chrono::milliseconds timeout, Done done);
  void finish(Result<dataplane::DetachResult> result, const Done& done);

  boost::asio::io_context& io_;
  std::string state_dir_;
  Hooks hooks_;
  admin::DetachedMarker marker_;
  std::optional<bool> label_due_;  // what the label said while a detach was under way
  std::string label_pins_;
  std::thread thread_;
  std::shared_ptr<Detaching*> self_;  // null once this is gone
};

}  // namespace underpass
