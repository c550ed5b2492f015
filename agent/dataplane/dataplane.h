// SPDX-License-Identifier: Apache-2.0
// The agent's hold on the kernel: programs attached, tables applied by difference, live connections swept and, where a
// pod leaves, led back to plain TCP. What it makes is pinned and works on when the agent is gone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/dataplane/connection.h"
#include "agent/dataplane/cutting.h"
#include "agent/dataplane/flow_tap.h"
#include "agent/dataplane/host.h"
#include "agent/dataplane/maps.h"
#include "agent/dataplane/policies.h"
#include "agent/dataplane/probe.h"
#include "agent/dataplane/programs.h"
#include "agent/dataplane/remote_table.h"
#include "agent/dataplane/services.h"
#include "agent/dataplane/wakes.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class Dataplane {
 public:
  struct Options {
    std::string cgroup_root;
    std::string pin_dir;
    std::uint64_t node_budget = 0;  // bytes
    unsigned fionread_counts = 0;   // what the self-test found
    NetnsCookie host_netns = 0;     // the node's own; 0: not known
    std::uint64_t pods_cgroup = 0;  // id of the cgroup below which all pods are
    bool deny_unknown = false;      // who is below it and no pod that is known connects nowhere
  };

  // Loads, or takes over what an earlier agent pinned; attaches. On failure nothing new is left behind.
  static Result<std::unique_ptr<Dataplane>> open(const Options& options, const std::vector<Capability>& capabilities);

  // What is in force: at first what an earlier agent left.
  [[nodiscard]] const compile::Tables& tables() const { return applied_; }

  // All of a pod is: its row, its addresses, and the guard at its door where it needs one.
  [[nodiscard]] bool is_in_force(NetnsCookie cookie, std::span<const IpAddress> ips) const;

  // What an agent with the layout before ours has pinned is still what connections meet: complete() puts ours in its
  // place, at once and without a gap, when all tables are filled and workers have found their way; then everything is
  // to be applied once more. What failed may be tried again.
  [[nodiscard]] bool is_migrating() const { return migrating_; }
  Result<void> complete();

  // Makes the kernel's tables equal to these, writing only what differs. A row that does not fit is left out and named
  // in the result; the others are applied.
  std::vector<Error> apply(const compile::Tables& wanted, compile::IdentityNumbers& numbers);

  // The same for Services, of which only what the update names is looked at.
  std::vector<Error> apply_services(const compile::ServiceCompiler& compiler,
                                    const compile::ServiceCompiler::Update& update);
  // The same for the pods that tunnels lead to. Before apply(): who is to dial them so must not find them missing.
  std::vector<Error> apply_remotes(const compile::Remotes& wanted, const compile::RemoteCompiler::Update& update) {
    return remotes_->apply(wanted, update);
  }
  [[nodiscard]] const RemoteTable& remotes() const { return *remotes_; }
  [[nodiscard]] const Services& services() const { return *services_; }
  [[nodiscard]] const Policies& policies() const { return *policies_; }
  // Who may connect to the pod of this netns; null: anybody.
  [[nodiscard]] std::shared_ptr<const compile::PolicySet> policy_of(NetnsCookie cookie) const;
  // What policy denied so far, of sets that are in force; counts of others are forgotten.
  std::vector<std::pair<up_denied_key, std::uint64_t>> denied();
  // That an earlier agent gave; IdentityNumbers start after it.
  [[nodiscard]] std::uint32_t greatest_identity() const;
  [[nodiscard]] ServiceMaps& service_maps() { return programs_->service_maps(); }
  [[nodiscard]] WorkerMaps& worker_maps() { return programs_->worker_maps(); }
  [[nodiscard]] const WorkerMaps& worker_maps() const { return programs_->worker_maps(); }
  // See Programs.
  Result<void> attach_to_workers_sockets(const std::string& cgroup) {
    workers_cgroup_ = cgroup;
    return migrating_ ? Result<void>() : programs_->attach_to_workers_sockets(cgroup);
  }

  // Connections that began and ended since the last call.
  std::vector<up_flow> take_flows() { return flows_->take(); }

  // Once a second: byte counts, tokens of drained queues, connections on their way back to TCP, old source records.
  Result<void> tick(const compile::IdentityNumbers& numbers);
  // As of the last tick: an eighth of the records is left, or less.
  [[nodiscard]] bool records_nearly_full() const { return records_nearly_full_; }
  // Connections that were ended since the last call because policy does not allow them.
  std::vector<std::string> take_cut();

  // Readable when BPF wants a connection looked at at once: then call attend().
  [[nodiscard]] int wake_fd() const { return wakes_->fd(); }
  // Resets connections that cannot go on, and says which. Leads stopped ones back to TCP.
  struct Reset {
    std::string connection;  // "10.0.0.1:40000 -> 10.0.0.2:80"
    up_why why;
    Result<void> done;
  };
  std::vector<Reset> attend();

  // Why splice() and FIONREAD are not seen although this kernel could show them; empty: they are. Nobody in mode `auto`
  // can be short-circuited then.
  [[nodiscard]] const std::string& calls_problem() const { return calls_problem_; }

  // With byte counts of this moment.
  [[nodiscard]] std::vector<Connection> connections();
  [[nodiscard]] Maps& maps() { return programs_->maps(); }

 private:
  Dataplane(std::unique_ptr<Programs> programs, std::unique_ptr<Wakes> wakes, std::unique_ptr<FlowTap> flows,
            std::string cgroup_root);
  Result<void> destroy_stale_udp();
  Result<void> set_policed(bool on);
  Result<void> show_peers(bool on);
  void add_marks(const compile::Tables& wanted, std::vector<Error>& errors);
  void remove_marks(const compile::Tables& wanted);
  // Guards those that have a policy, and only those.
  void add_guards(const compile::Tables& wanted, std::vector<Error>& errors);
  void remove_guards(const compile::Tables& wanted, std::vector<Error>& errors);
  // Connections that policy no longer allows.
  void cut_denied(const compile::IdentityNumbers& numbers, std::vector<Error>& errors);
  Result<void> update_watch(bool wanted);

  std::unique_ptr<Programs> programs_;
  std::unique_ptr<Wakes> wakes_;
  std::unique_ptr<FlowTap> flows_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<Policies> policies_;
  std::unique_ptr<RemoteTable> remotes_;
  std::set<NetnsCookie> guarded_;
  std::set<NetnsCookie> foreign_guards_;  // an earlier agent's
  std::set<NetnsCookie> judged_anew_;     // whose live connections are still to be looked at
  std::set<NetnsCookie> judged_once_;     // ... and once more
  // From when on a worker decides about what comes to these; not here: from before this agent came.
  std::map<NetnsCookie, std::uint64_t> decided_since_;
  bool cut_again_ = true;
  std::vector<std::string> cut_;
  NetnsCookie host_netns_ = 0;
  std::optional<bool> serving_, showing_peers_;  // absent: an earlier agent may have left it either way
  std::string cgroup_root_;
  std::string pin_dir_;
  std::string workers_cgroup_;  // empty: there are no workers
  bool migrating_ = false;
  compile::Tables applied_;
  bool fit_ = false;  // the kernel may short-circuit
  bool watching_ = false;
  bool records_nearly_full_ = false;
  std::optional<bool> watching_learners_;  // absent: an earlier agent may have left it either way
  std::string calls_problem_;
};

// Unmaps both ends of every stopped connection among these whose queues are drained. Returns those that are not yet.
std::vector<Connection> unmap_drained(Maps& maps, std::vector<Connection> connections);

// CLOCK_MONOTONIC, the clock of the records.
std::uint64_t monotonic_ns();

}  // namespace underpass::dataplane
