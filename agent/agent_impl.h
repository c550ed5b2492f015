// SPDX-License-Identifier: Apache-2.0
// What the agent is made of. It is in three files: how it starts, how objects come to the kernel's tables, and what it
// answers.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/admin/http.h"
#include "agent/admin/server.h"
#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"
#include "agent/admission.h"
#include "agent/agent.h"
#include "agent/cluster.h"
#include "agent/compile/compile.h"
#include "agent/compile/remotes.h"
#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/host.h"
#include "agent/dataplane/netns_facts.h"
#include "agent/dataplane/pins.h"
#include "agent/dataplane/probe.h"
#include "agent/detaching.h"
#include "agent/k8s/source.h"
#include "agent/learn/workloads.h"
#include "agent/policing.h"
#include "agent/proxying.h"
#include "agent/publishing.h"
#include "agent/serving.h"
#include "agent/state/store.h"

namespace underpass {

class Agent::Impl : public std::enable_shared_from_this<Agent::Impl> {
 public:
  Impl(boost::asio::io_context& io, AgentOptions options, ipc::Listeners handed);

  Result<void> start();
  void stop();
  void leave(std::function<void()> done);

 private:
  // --- start: agent_start.cpp
  // -----------------------------------------------------------------------------------------

  [[nodiscard]] bool in_cluster() const { return options_.source_dir.empty(); }
  [[nodiscard]] std::string pin_dir() const { return dataplane::pin_dir_of(options_.bpffs); }
  Result<void> prepare_host();
  // Once for each time that the programs are attached: what was probed, and what was tried.
  // Returns which bytes FIONREAD counts (UP_INQ_*).
  unsigned test_kernel();
  Result<void> open_dataplane();
  Result<void> open_admin();
  Result<void> open_source();
  Certificates::Options certificate_options();
  [[nodiscard]] AdmissionOptions admission_options() const;
  Result<void> open_admission();
  Detaching::Hooks detaching_hooks();
  Result<void> open_http();

  // --- from objects to tables: agent.cpp
  // ------------------------------------------------------------------------------

  // A new state of the source.
  void take(const k8s::Contents& contents);
  // Those that were not there the last time.
  std::vector<model::Diagnostic> take_news(const std::vector<model::Diagnostic>& diagnostics);
  void recompile();
  // Objects, namespaces and verdicts to the kernel's tables. Until the source has told all that there is, what an
  // earlier agent left there stays.
  void update_tables();
  [[nodiscard]] Admission::View admission_view() const;
  void write_tables();
  // Network namespaces appear and go without a word from the source: once a second, and when a pod is looked for.
  void follow_netns();
  // Which pods take tunnels, to the other nodes' agents.
  void publish();
  void schedule_walk();
  // Waits for BPF to name a connection that is to be looked at.
  void await_wake();
  void attend();
  // What happened in the kernel, to those who count and tell it.
  void follow();
  // What the pods were seen to do, to verdicts, and these to the tables and to the disk.
  void update_verdicts();
  void save_workloads();
  // Which number is whose, before anything in the kernel or a worker says a new one.
  void save_identities();
  void schedule_tick();
  // From an earlier layout of pinned maps to ours, when all is filled in.
  void complete_migration();
  void tick();

  // --- what operators ask: agent_answers.cpp
  // --------------------------------------------------------------------------

  [[nodiscard]] std::uint64_t count(bool compile::PodStatus::* member) const;
  // Why nothing in mode auto is short-circuited, as far as the kernel and the processor decide it.
  [[nodiscard]] std::string auto_problem() const;
  [[nodiscard]] std::string attach_remedy() const;
  std::vector<std::string> reasons();
  admin::Answer status();
  // What the kernel can do, and what of that somebody else has taken.
  [[nodiscard]] std::vector<dataplane::Capability> capabilities() const;
  admin::Answer check() { return admin::capabilities_view(capabilities()); }
  admin::Answer pods() { return admin::pods_view(pods_, workloads_); }
  admin::Answer connections();
  admin::Answer flows(const boost::json::object& request);
  std::optional<std::string> not_ready();
  // Whether the agent that asks, or is asked after, is this one and ready.
  admin::Answer ready(const boost::json::object& request);
  void retire(const boost::json::object& request, const admin::Reply& reply);
  // For the agent that follows: this one listens nowhere any more.
  ipc::Listeners hand_over();
  std::vector<prometheus::MetricFamily> collect();
  // Forgets what was learned of a pod's workload, and what its pods here were seen to do.
  admin::Answer relearn(const boost::json::object& request);

  // Destroyed last: by the end of its connection an agent that follows knows that all else is let go.
  std::unique_ptr<admin::Server> admin_;

  boost::asio::io_context& io_;
  AgentOptions options_;
  ipc::Listeners handed_;                            // by the agent before, until they are in use
  std::vector<dataplane::Capability> probed_;        // before anything was attached
  std::vector<dataplane::Capability> capabilities_;  // with what the self-test found
  std::string calls_problem_;                        // as of the last tick
  Detaching detaching_;
  std::uint64_t pods_cgroup_ = 0;  // its id
  NetnsCookie host_netns_ = 0;
  int deny_errno_ = 0;

  state::Store store_;
  std::vector<model::Diagnostic> logged_;
  std::optional<admin::WallTime> stale_since_;
  dataplane::NetnsFactCache netns_;
  compile::NetnsFacts facts_;
  compile::NamespaceIds ids_;
  compile::RemoteCompiler remotes_;
  Policing policing_;
  std::vector<compile::PodStatus> pods_;
  learn::Workloads workloads_;
  std::string save_problem_;
  std::size_t saved_identities_ = 0;

  std::unique_ptr<dataplane::Dataplane> dataplane_;              // null while detached
  std::optional<std::chrono::steady_clock::time_point> filled_;  // since when all tables are, where maps migrate
  std::vector<std::string> problems_;                            // rows that did not fit
  std::string tick_problem_;
  std::string migration_problem_;  // why an earlier agent's programs are still attached
  Serving serving_;
  std::unique_ptr<Proxying> proxying_;

  std::unique_ptr<k8s::Source> source_;     // of a folder
  std::unique_ptr<Cluster> cluster_;        // or of a cluster
  std::unique_ptr<Publishing> publishing_;  // of a cluster
  bool synced_ = false;                     // the source has told what there is
  std::unique_ptr<Admission> admission_;

  std::unique_ptr<admin::HttpServer> metrics_;
  std::unique_ptr<admin::HttpServer> ready_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer walk_timer_;
  boost::asio::posix::stream_descriptor wakes_;
};

}  // namespace underpass
