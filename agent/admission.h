// SPDX-License-Identifier: Apache-2.0
// Pods that start, as the CNI plugin tells of them: each is in the kernel's tables before its first process runs, or it
// does not start if it belongs to the mesh. The plugin's question waits until the source knows the pod and its row is
// written. Also keeps the plugin installed, and leaves on disk what it goes by while the agent is away.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/cni/enrolment_file.h"
#include "agent/cni/installer.h"
#include "agent/cni/server.h"
#include "agent/compile/compile.h"
#include "agent/dataplane/dataplane.h"
#include "underpass/model/objects.h"
#include "underpass/unique_fd.h"

namespace boost::asio {
class io_context;
}

namespace underpass {

struct AdmissionOptions {
  std::string node_name;
  std::string run_dir;
  std::string state_dir;
  std::string plugin;  // the binary that is installed
  std::string bin_dir;
  std::string conf_dir;
};

class Admission {
 public:
  // What it does with a pod's network namespace.
  struct Hooks {
    std::function<void(const std::string& cgroup_uid, UniqueFd netns, std::vector<IpAddress> ips)> hand_over;
    std::function<void(const std::string& cgroup_uid)> take_back;
    std::function<void()> recompile;  // calls update()
  };
  // As of the last update().
  struct View {
    const model::Snapshot& snapshot;
    std::span<const compile::PodStatus> pods;
    const dataplane::Dataplane* dataplane = nullptr;
    bool synced = false;    // the source has told all that there is
    bool detached = false;  // the node as a whole
  };

  // `handed`: the socket of the agent before.
  static Result<std::unique_ptr<Admission>> open(boost::asio::io_context& io, AdmissionOptions options, Hooks hooks,
                                                 UniqueFd handed = {});
  // Listens no more, for the next agent to.
  UniqueFd hand_over() { return server_->hand_over(); }

  // After each new state of the tables, and once a second while one waits: answers those that wait. True if namespaces
  // were handed over, so that the tables are to be made once more.
  [[nodiscard]] bool update(const View& view);
  [[nodiscard]] bool waits() const { return !waiting_.empty(); }

  // With no Admission any more: takes the plugin off the node, where pods then start as if there had never been one.
  // Blocks for seconds.
  static void uninstall(const AdmissionOptions& options);

  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    cni::Question question;
    cni::Server::Reply reply;
    Clock::time_point until;
  };

  Admission(AdmissionOptions options, Hooks hooks);
  void take(cni::Question question, const cni::Server::Reply& reply);
  [[nodiscard]] const model::Pod* find_pod(const cni::Request& request, const model::Snapshot& snapshot) const;
  [[nodiscard]] std::optional<cni::Answer> decide(const Waiting& waiting, const View& view) const;
  void end_sandbox(const std::string& container_id);
  void forget_sandboxes(const model::Snapshot& snapshot);
  bool hand_over(const View& view);
  void answer(const View& view);
  void keep_enrolment(const View& view);

  AdmissionOptions options_;
  Hooks hooks_;
  std::list<Waiting> waiting_;
  // By the pod's UID, whose sandbox was handed over last: the end of an older one changes nothing.
  std::map<std::string, std::string> sandboxes_;
  cni::Enrolment enrolment_;  // as it is on disk
  bool enrolment_known_ = false;
  std::string save_problem_;
  std::unique_ptr<cni::Server> server_;
  std::unique_ptr<cni::Installer> installer_;
  std::string install_problem_;
};

}  // namespace underpass
