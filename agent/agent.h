// SPDX-License-Identifier: Apache-2.0
// The agent as a whole: it listens to a source, compiles what that says, keeps the kernel's tables equal to it, and
// answers operators. Everything runs on one io_context; only a detach, which waits for readers, has a thread of its
// own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/ca/upkeep.h"
#include "agent/compile/policies.h"
#include "agent/dataplane/call_watch.h"
#include "agent/ipc/listeners.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass {

// Flags of underpassd.
struct AgentOptions {
  std::string source_dir;                    // PATH of --source dir:PATH; empty: --source kubernetes
  std::string kubeconfig;                    // empty: the pod's own service account
  std::optional<NamespacedName> daemon_set;  // the agent's own
  bool cni = false;
  std::string cni_plugin = "underpass-cni";  // the binary that is installed
  std::string cni_bin_dir = "/opt/cni/bin";
  std::string cni_conf_dir = "/etc/cni/net.d";
  std::string node_name;
  std::string instance;                   // of this agent among those of the node; empty: there are no others
  std::function<void(int)> retired = {};  // another one, of this pid, takes over: this is to be destroyed now
  std::string proxy = "underpass-proxy";  // the workers' binary
  std::string log_level = "info";
  std::string cgroup_root;  // empty: the first cgroup2 mount
  std::string pods_cgroup;  // empty: of a cluster the kubepods cgroup, else cgroup_root
  bool deny_unknown_pods = false;
  bool allow_private_jwks = false;  // token issuers may stand on private networks
  std::string bpffs = "/sys/fs/bpf";
  std::string run_dir = "/run/underpass";
  std::string state_dir = "/var/lib/underpass";
  bool ask_controller = false;  // --ca kubernetes: certificates come from the cluster's controller
  NamespacedName trust_bundle{.ns = "underpass-system", .name = "underpass-trust-bundle"};  // a ConfigMap
  std::string ca_dir;  // of --ca folder; empty: <state_dir>/ca
  std::chrono::seconds certificate_lifetime = ca::UpkeepOptions().svid_life;
  std::chrono::seconds root_overlap = ca::UpkeepOptions().overlap;
  std::string metrics = "0.0.0.0:15020";
  std::string ready = "0.0.0.0:15021";
  dataplane::Watchpoints watchpoints = dataplane::Watchpoints::kAuto;
  std::uint64_t node_budget = 0;  // bytes; 0: the default of this machine
};

class Agent {
 public:
  // Everything that can fail at start fails here, and nothing new is left behind then. `handed`: by the agent that is
  // followed.
  static Result<std::unique_ptr<Agent>> start(boost::asio::io_context& io, AgentOptions options,
                                              ipc::Listeners handed = {});
  // Stops answering; what is pinned stays and works on.
  ~Agent();
  // Before the end: where Underpass is being removed from the cluster, takes away what is on the node. `done` is called
  // at once or later, from the io_context's thread.
  void leave(std::function<void()> done);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

 private:
  class Impl;
  explicit Agent(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace underpass
