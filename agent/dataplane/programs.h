// SPDX-License-Identifier: Apache-2.0
// The BPF programs, loaded by their skeleton over the pinned maps: those of an earlier agent where there are any, so
// that live connections never notice a restart.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/dataplane/call_watch.h"
#include "agent/dataplane/maps.h"
#include "agent/dataplane/policy_maps.h"
#include "agent/dataplane/service_maps.h"
#include "agent/dataplane/worker_maps.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class Programs {
 public:
  enum class Purpose {
    kRun,      // everything: what the agent loads
    kTest,     // what short-circuits IPv4, for the self-test
    kInspect,  // only what walks over live sockets: for detaching without an agent
  };
  struct Fitness {
    bool short_circuit = false;  // the kernel passed the probes; else every connection is direct
    bool sees_reads = false;     // it has the tracepoint sock_recv_length
    CallMeans calls = CallMeans::kNone;
  };

  static Result<std::unique_ptr<Programs>> load(const std::string& pin_dir, Purpose purpose, Fitness fitness);
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;
  ~Programs();

  // attach() and attach_to_workers_sockets() (where there is a cgroup of theirs) in the place of an earlier agent's
  // that has maps of its own, its guards with them.
  Result<void> take_over(const std::string& cgroup_root, const std::string& workers_cgroup);
  // Attaches what decides and pins the links; links of an earlier agent get the new programs without a gap.
  Result<void> attach(const std::string& cgroup_root);
  // Watches what sockets are asked for: recv(), and the calls of call_watch.h. That costs every recv() of the machine a
  // little, so it is on only while somebody needs it.
  struct Watch {
    bool fresh = false;         // recv() was not watched until now
    std::string calls_problem;  // why those calls are not seen; empty: they are
  };
  Result<Watch> watch(bool on);
  // What only learning looks for, at the price of a hook on every getsockopt() of the cgroup.
  Result<void> watch_learners(bool on, const std::string& cgroup_root);

  // What Services need beside connect(): datagrams, and that an application sees the address that it dialled. Hooks on
  // calls that everybody makes, so they are on only while there is a Service.
  Result<void> serve(bool on, const std::string& cgroup_root);
  // getpeername() and accept() show what was dialled, and who dialled. Everybody's run through that, so it is there
  // only while something is to be shown that is not the kernel's own.
  Result<void> show_peers(bool on, const std::string& cgroup_root);
  // What runs for the sockets that are made in this cgroup, and for no others.
  Result<void> attach_to_workers_sockets(const std::string& cgroup);

  // Policy is asked of whatever comes to these pods, too, and not only by those who dial them. Works on without the
  // agent. Those that could not be guarded, and why.
  std::map<NetnsCookie, Error> guard(const std::set<NetnsCookie>& pods);
  // Not any more: it has no policy, or left.
  Result<void> unguard(NetnsCookie netns);
  // Those that are guarded, by an earlier agent too.
  [[nodiscard]] std::set<NetnsCookie> guarded() const;

  // Bits UP_INQ_*: which bytes FIONREAD of a mapped socket counts on this kernel.
  void set_fionread_counts(unsigned bits);

  [[nodiscard]] Maps& maps();
  [[nodiscard]] int wake_map() const;
  [[nodiscard]] ServiceMaps& service_maps();
  [[nodiscard]] PolicyMaps& policy_maps();
  [[nodiscard]] WorkerMaps& worker_maps();
  [[nodiscard]] int flow_map() const;
  [[nodiscard]] int remote_map() const;

  // Brings the records of all live sockets up to date.
  Result<void> sweep();
  // The datagram sockets of the calling thread's network namespace that are connected through a Service.
  Result<std::vector<up_udp_socket>> udp_sockets();
  // No new message of this pod is short-circuited any more; 0: of any pod.
  Result<void> stop(NetnsCookie netns);

 private:
  struct Impl;
  explicit Programs(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace underpass::dataplane
