// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "agent/admin/detached_marker.h"
#include "agent/admin/http.h"
#include "agent/admin/server.h"
#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"
#include "agent/compile/compile.h"
#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/detach.h"
#include "agent/dataplane/host.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/netns_facts.h"
#include "agent/dataplane/pins.h"
#include "agent/dataplane/probe.h"
#include "agent/dataplane/self_test.h"
#include "agent/k8s/dir_source.h"
#include "agent/learn/workloads.h"
#include "agent/learn/workloads_file.h"
#include "agent/log_lines.h"
#include "agent/metrics.h"
#include "agent/policing.h"
#include "agent/proxying.h"
#include "agent/serving.h"
#include "agent/state/store.h"
#include "underpass/abi_names.h"

namespace underpass {
namespace {

namespace json = boost::json;

constexpr auto kTick = std::chrono::seconds(1);

Result<void> make_folder(const std::string& flag, const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(flag + " " + path + ": " + error.message());
  return {};
}

}  // namespace

class Agent::Impl : public std::enable_shared_from_this<Agent::Impl> {
 public:
  Impl(boost::asio::io_context& io, AgentOptions options)
      : io_(io), options_(std::move(options)), serving_(options_.node_name), timer_(io), wakes_(io) {}
  ~Impl() {
    if (detaching_.joinable()) detaching_.join();
  }

  Result<void> start() {
    if (auto done = prepare_host(); !done) return done;
    if (auto done = open_admin(); !done) return done;  // also refuses a second agent on this run-dir

    auto source = k8s::DirSource::open(io_, options_.source_dir, [this](const auto& contents) { take(contents); });
    if (!source) return std::unexpected(source.error());
    if (marker_.node)
      spdlog::warn("node-detached since={} remedy=\"underpassctl attach\"", marker_.since);
    else if (auto done = open_dataplane(); !done)
      return done;
    if (auto done = open_http(); !done) return done;
    proxying_ = std::make_unique<Proxying>(io_, workers::Options{.binary = options_.proxy,
                                                                 .run_dir = options_.run_dir,
                                                                 .cgroup_root = options_.cgroup_root,
                                                                 .log_level = options_.log_level});

    source_ = std::move(*source);
    source_->start();
    spdlog::info("agent-ready version={} node={} cgroup={} pins={} metrics={} ready={}", UNDERPASS_VERSION,
                 options_.node_name, options_.cgroup_root, pin_dir(), metrics_->local().to_string(),
                 ready_->local().to_string());
    schedule_tick();
    return {};
  }

  void stop() {
    timer_.cancel();
    wakes_.close();
    source_.reset();
    proxying_.reset();
    admin_.reset();
    metrics_.reset();
    ready_.reset();
  }

 private:
  [[nodiscard]] std::string pin_dir() const { return dataplane::pin_dir_of(options_.bpffs); }

  Result<void> prepare_host() {
    if (auto done = dataplane::check_capabilities(); !done) return done;
    if (options_.cgroup_root.empty()) {
      auto root = dataplane::find_cgroup_root();
      if (!root) return std::unexpected(root.error());
      options_.cgroup_root = *root;
    }
    if (auto done = dataplane::check_cgroup_root(options_.cgroup_root); !done) return done;
    if (options_.pods_cgroup.empty()) options_.pods_cgroup = options_.cgroup_root;
    auto pods_cgroup = dataplane::place_of_cgroup(options_.pods_cgroup);
    if (!pods_cgroup) return fail_in("--pods-cgroup", pods_cgroup.error());
    pods_cgroup_ = *pods_cgroup;
    if (auto done = dataplane::prepare_bpffs(options_.bpffs); !done) return done;
    if (auto done = make_folder("--run-dir", options_.run_dir); !done) return done;
    if (auto done = make_folder("--state-dir", options_.state_dir); !done) return done;
    if (auto own = dataplane::probe_netns("/proc/self/ns/net")) host_netns_ = own->cookie;
    if (options_.node_budget == 0) options_.node_budget = dataplane::default_node_budget();

    auto probed = dataplane::probe_capabilities(options_.watchpoints);
    if (!probed) return std::unexpected(probed.error());
    probed_ = std::move(*probed);
    deny_errno_ = dataplane::probe_deny_errno();
    capabilities_ = probed_;
    auto marker = admin::load_detached_marker(options_.state_dir);
    if (!marker) return std::unexpected(marker.error());
    marker_ = std::move(*marker);
    auto learned = learn::load_workloads(options_.state_dir);
    if (!learned.problem.empty()) spdlog::warn("workloads-lost {}", learned.problem);
    workloads_ = learn::Workloads(std::move(learned.workloads));
    return {};
  }

  // Once for each time that the programs are attached: what was probed, and what was tried.
  // Returns which bytes FIONREAD counts (UP_INQ_*).
  unsigned test_kernel() {
    capabilities_ = probed_;
    unsigned fionread_counts = 0;
    if (const auto fitness = dataplane::fitness_of(capabilities_); fitness.short_circuit) {
      auto tested = dataplane::run_self_test({.cgroup_root = options_.cgroup_root,
                                              .bpffs = options_.bpffs,
                                              .calls_watched_already = fitness.calls != dataplane::CallMeans::kNone &&
                                                                       dataplane::is_call_watch_pinned(pin_dir())},
                                             fitness);
      std::ranges::move(tested.rows, std::back_inserter(capabilities_));
      fionread_counts = tested.fionread_counts;
    }
    for (const auto& row : capabilities_)
      if (row.result == "tcp") spdlog::warn("capability-missing name={} reason=\"{}\"", row.name, row.reason);
    return fionread_counts;
  }

  Result<void> open_dataplane() {
    const unsigned fionread_counts = test_kernel();
    auto opened = dataplane::Dataplane::open({.cgroup_root = options_.cgroup_root,
                                              .pin_dir = pin_dir(),
                                              .node_budget = options_.node_budget,
                                              .fionread_counts = fionread_counts,
                                              .host_netns = host_netns_,
                                              .pods_cgroup = pods_cgroup_,
                                              .deny_unknown = options_.deny_unknown_pods},
                                             capabilities_);
    if (!opened) return std::unexpected(opened.error());
    dataplane_ = std::move(*opened);
    wakes_.assign(::dup(dataplane_->wake_fd()));
    await_wake();
    const auto& tables = dataplane_->tables();
    for (const auto& [cookie, pod] : tables.pods) ids_.adopt(pod.namespace_name, pod.namespace_id);
    policing_.numbers().start_after(dataplane_->greatest_identity());
    if (!tables.pods.empty()) spdlog::info("pins-adopted pods={}", tables.pods.size());
    return {};
  }

  Result<void> open_admin() {
    const auto answer = [this](auto member) {
      return admin::Handler([this, member](const json::object&, admin::Reply reply) { reply((this->*member)()); });
    };
    auto server = admin::Server::listen(
        io_, admin::socket_path(options_.run_dir),
        admin::dispatch({
            {"status", answer(&Impl::status)},
            {"check", answer(&Impl::check)},
            {"pods", answer(&Impl::pods)},
            {"connections", answer(&Impl::connections)},
            {"services",
             [this](const json::object&, const admin::Reply& reply) { reply(serving_.services(*store_.snapshot())); }},
            {"policies",
             [this](const json::object&, const admin::Reply& reply) {
               if (dataplane_) follow();
               reply(policing_.policies(*store_.snapshot()));
             }},
            {"explain",
             [this](const json::object& request, const admin::Reply& reply) {
               reply(serving_.explain(request, pods_, dataplane_.get()));
             }},
            {"proxy-config", [this](const json::object& request,
                                    const admin::Reply& reply) { reply(proxying_->config(request, pods_)); }},
            {"flows", [this](const json::object& request, const admin::Reply& reply) { reply(flows(request)); }},
            {"relearn", [this](const json::object& request, const admin::Reply& reply) { reply(relearn(request)); }},
            {"detach", [this](const json::object& request, admin::Reply reply) { detach(request, std::move(reply)); }},
            {"attach", [this](const json::object& request, admin::Reply reply) { attach(request, std::move(reply)); }},
        }));
    if (!server) return std::unexpected(server.error());
    admin_ = std::move(*server);
    return {};
  }

  Result<void> open_http() {
    const auto listen = [this](const char* flag, const std::string& at,
                               admin::Pages pages) -> Result<std::unique_ptr<admin::HttpServer>> {
      auto host_port = admin::parse_host_port(at);
      if (!host_port) return fail_in(flag, host_port.error());
      auto server = admin::HttpServer::listen(io_, *host_port, std::move(pages));
      if (!server) return fail_in(flag, server.error());
      return std::move(*server);
    };
    auto metrics = listen("--metrics", options_.metrics, admin::metrics_pages([this] { return collect(); }));
    if (!metrics) return std::unexpected(metrics.error());
    metrics_ = std::move(*metrics);
    auto ready = listen("--ready", options_.ready, admin::ready_pages([this] { return not_ready(); }));
    if (!ready) return std::unexpected(ready.error());
    ready_ = std::move(*ready);
    return {};
  }

  // A new state of the folder.
  void take(const k8s::Contents& contents) {
    if (!contents.lost)
      stale_since_.reset();
    else if (!stale_since_)
      stale_since_ = std::chrono::system_clock::now();
    store_.update(contents);
    for (const auto& diagnostic : store_.snapshot()->diagnostics) {
      if (std::ranges::find(logged_, diagnostic) != logged_.end()) continue;
      spdlog::warn("object-{} {}", diagnostic.state == model::Diagnostic::State::kStale ? "stale" : "refused",
                   diagnostic_name(diagnostic));
    }
    logged_ = store_.snapshot()->diagnostics;
    recompile();
  }

  void recompile() {
    update_tables();
    update_verdicts();  // at once, so that a new pod's counts are seen from their beginning
  }

  // Objects, namespaces and verdicts to the kernel's tables.
  void update_tables() {
    const auto& snapshot = *store_.snapshot();
    facts_ = netns_.refresh(snapshot, options_.node_name);
    auto compiled =
        compile::compile_tables(snapshot, facts_,
                                {.node_name = options_.node_name,
                                 .trust_domain = snapshot.mesh.value_or(model::MeshConfig{}).trust_domain,
                                 .detached_namespaces = {marker_.namespaces.begin(), marker_.namespaces.end()},
                                 .host_netns = host_netns_,
                                 .verdicts = workloads_.decided(),
                                 .auto_problem = auto_problem()},
                                ids_);
    policing_.update(snapshot, compiled);
    if (dataplane_) {
      follow();  // while the sets that go now can be named
      problems_.clear();
      for (const auto& error : dataplane_->apply(compiled.tables, policing_.numbers())) {
        spdlog::error("apply-failed {}", error.message);
        problems_.push_back(error.message);
      }
      log_cut(dataplane_->take_cut());
    }
    proxying_->update(snapshot, compiled, dataplane_.get());
    for (auto& pod : compiled.pods) {
      if (!dataplane_ && pod.enrolled) {
        pod.enrolled = false;
        pod.reason = "the node is detached";
      }
      const auto before = std::ranges::find(pods_, pod.id, &compile::PodStatus::id);
      log_change(pod, before == pods_.end() ? nullptr : &*before);
    }
    pods_ = std::move(compiled.pods);
    serving_.update(snapshot, store_.take_changes(), dataplane_.get());
  }

  // Waits for BPF to name a connection that is to be looked at.
  void await_wake() {
    wakes_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [weak = weak_from_this()](const boost::system::error_code& error) {
                        const auto self = weak.lock();
                        if (error || !self || !self->dataplane_) return;
                        self->attend();
                        self->await_wake();
                      });
  }

  void attend() {
    for (const auto& reset : dataplane_->attend()) {
      spdlog::warn("connection-reset connection=\"{}\" reason={}{}", reset.connection, name_of(reset.why),
                   reset.done ? "" : " failed=\"" + reset.done.error().message + "\"");
    }
  }

  // What happened in the kernel, to those who count and tell it.
  void follow() {
    const auto flows = dataplane_->take_flows();
    serving_.tick(*dataplane_, pods_, *store_.snapshot(), flows);
    policing_.tick(*dataplane_, pods_, flows);
  }

  // What the pods were seen to do, to verdicts, and these to the tables and to the disk.
  void update_verdicts() {
    std::map<NetnsCookie, learn::Workload> pods;
    for (const auto& pod : pods_)
      if (pod.enrolled && pod.asks_auto) pods.emplace(pod.netns_cookie, pod.workload);
    const auto habits = dataplane_ ? dataplane_->maps().habits() : std::map<NetnsCookie, up_habits>{};
    const auto observed = workloads_.observe(
        pods, habits,
        {.monotonic_ns = dataplane::monotonic_ns(), .wall = admin::to_rfc3339(std::chrono::system_clock::now())});
    if (dataplane_)
      for (const auto cookie : observed.to_reset) dataplane_->maps().reset_habits(cookie);
    for (const auto& change : observed.changes) log_change(change);
    if (!observed.changes.empty()) update_tables();
    if (workloads_.unsaved()) save_workloads();
  }

  void save_workloads() {
    auto done = learn::save_workloads(options_.state_dir, workloads_.to_remember());
    if (done) workloads_.saved();
    if (!done && done.error().message != save_problem_) spdlog::error("save-failed {}", done.error().message);
    save_problem_ = done ? "" : done.error().message;
  }

  void schedule_tick() {
    timer_.expires_after(kTick);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self) return;
      self->tick();
      self->schedule_tick();
    });
  }

  void tick() {
    if (dataplane_) {
      attend();
      auto done = dataplane_->tick(policing_.numbers());
      log_cut(dataplane_->take_cut());
      if (!done && done.error().message != tick_problem_) spdlog::error("tick-failed {}", done.error().message);
      tick_problem_ = done ? "" : done.error().message;
      follow();
    }
    proxying_->tick();
    const bool calls_changed = dataplane_ && dataplane_->calls_problem() != calls_problem_;
    if (calls_changed) {
      calls_problem_ = dataplane_->calls_problem();
      if (!calls_problem_.empty()) spdlog::warn("calls-not-watched reason=\"{}\"", calls_problem_);
      update_tables();
    }
    // Namespaces appear and go without a word from the source.
    if (netns_.refresh(*store_.snapshot(), options_.node_name) != facts_) update_tables();
    update_verdicts();
  }

  // --- what operators ask -------------------------------------------------------------------------------------------

  [[nodiscard]] std::uint64_t count(bool compile::PodStatus::* member) const {
    return static_cast<std::uint64_t>(std::ranges::count_if(pods_, [member](const auto& pod) { return pod.*member; }));
  }

  // Why nothing in mode auto is short-circuited, as far as the kernel and the processor decide it.
  [[nodiscard]] std::string auto_problem() const {
    for (const auto& row : capabilities_)
      if (row.result == "tcp" && !dataplane::concerns_all_modes(row)) return row.reason;
    return "";
  }

  std::vector<std::string> reasons() {
    std::vector<std::string> out = problems_;
    if (!tick_problem_.empty()) out.push_back(tick_problem_);
    if (!save_problem_.empty()) out.push_back("what is learned is not kept: " + save_problem_);
    if (marker_.node) out.push_back("detached from the node since " + marker_.since + ": run `underpassctl attach`");
    for (const auto& row : capabilities_)
      if (row.result == "tcp" && dataplane::concerns_all_modes(row))
        out.push_back("capability " + row.name + ": " + row.reason);
    const std::string problem = auto_problem().empty() ? calls_problem_ : auto_problem();
    const auto misses_it = [](const compile::PodStatus& pod) { return pod.enrolled && pod.asks_auto; };
    if (!problem.empty() && std::ranges::any_of(pods_, misses_it)) out.push_back("mode auto stays on TCP: " + problem);
    for (const auto& diagnostic : store_.snapshot()->diagnostics) out.push_back(diagnostic_name(diagnostic));
    std::ranges::move(serving_.problems(), std::back_inserter(out));
    std::ranges::move(proxying_->problems(), std::back_inserter(out));
    return out;
  }

  admin::Answer status() {
    admin::StatusInfo info{.node = options_.node_name, .version = UNDERPASS_VERSION, .reasons = reasons()};
    info.state = stale_since_            ? admin::StatusInfo::State::kStale
                 : !info.reasons.empty() ? admin::StatusInfo::State::kDegraded
                                         : admin::StatusInfo::State::kReady;
    info.stale_since = stale_since_;
    info.metrics_listen = metrics_ ? metrics_->local().to_string() : "";
    info.ready_listen = ready_ ? ready_->local().to_string() : "";
    info.capabilities = capabilities();
    info.deny_errno = deny_errno_;
    info.pods_enrolled = count(&compile::PodStatus::enrolled);
    info.pods_refused = count(&compile::PodStatus::refused);
    info.detached = marker_;
    info.memory_used = dataplane_ ? dataplane_->maps().used_of_pool(0) : 0;
    info.memory_limit = options_.node_budget;
    return admin::status_view(info);
  }

  // What the kernel can do, and what of that somebody else has taken.
  [[nodiscard]] std::vector<dataplane::Capability> capabilities() const {
    auto rows = capabilities_;
    for (auto& row : rows)
      if (row.name == dataplane::kCallWatch && row.result != "tcp" && !calls_problem_.empty()) {
        row.result = "tcp";
        row.reason = calls_problem_ + ": mode auto stays on TCP";
      }
    return rows;
  }

  admin::Answer check() { return admin::capabilities_view(capabilities()); }

  admin::Answer pods() { return admin::pods_view(pods_, workloads_); }

  admin::Answer connections() {
    const auto connections = dataplane_ ? dataplane_->connections() : std::vector<dataplane::Connection>{};
    return admin::connections_view(connections, admin::PodIndex(pods_), admin::ClockOffset::now(),
                                   service_names(dataplane_.get()));
  }

  admin::Answer flows(const json::object& request) {
    if (dataplane_) follow();
    return serving_.flows(request, pods_, dataplane_.get());
  }

  std::optional<std::string> not_ready() {
    if (marker_.node) return "detached";
    if (!dataplane_) return "the BPF programs are not attached";
    return std::nullopt;
  }

  std::vector<prometheus::MetricFamily> collect() {
    MetricsInput input{.memory_limit = options_.node_budget,
                       .pods_enrolled = count(&compile::PodStatus::enrolled),
                       .pods_refused = count(&compile::PodStatus::refused),
                       .workloads = workloads_.present(),
                       .late_detections = workloads_.late(),
                       .capabilities = capabilities()};
    if (stale_since_)
      input.stale_seconds = std::chrono::duration<double>(std::chrono::system_clock::now() - *stale_since_).count();
    if (dataplane_) {
      input.stats = dataplane_->maps().stats();
      input.fill = dataplane_->maps().fill();
      input.memory_used = dataplane_->maps().used_of_pool(0);
      std::ranges::copy(dataplane_->services().fill(), std::back_inserter(input.fill));
      follow();
    }
    serving_.describe(input);
    auto families = collect_metrics(input);
    std::ranges::move(serving_.collect(), std::back_inserter(families));
    std::ranges::move(policing_.collect(), std::back_inserter(families));
    std::ranges::move(proxying_->collect(), std::back_inserter(families));
    return families;
  }

  // Forgets what was learned of a pod's workload, and what its pods here were seen to do.
  admin::Answer relearn(const json::object& request) {
    const auto id = admin::decode_pod(request);
    if (!id) return std::unexpected(id.error());
    const auto pod = std::ranges::find(pods_, *id, &compile::PodStatus::id);
    if (pod == pods_.end())
      return admin::refuse(admin::ErrorCode::kNotFound, "Pod " + id->to_string() + ": not found on this node");
    const auto workload = pod->workload;
    const auto was = workloads_.forget(workload);
    if (dataplane_)
      for (const auto& other : pods_)
        if (other.workload == workload && other.enrolled) dataplane_->maps().reset_habits(other.netns_cookie);
    spdlog::info("workload-relearn workload={} was={}", workload.to_string(), learn::name_of(was.state));
    recompile();
    if (workloads_.unsaved()) return admin::refuse(admin::ErrorCode::kFailed, save_problem_);
    return admin::relearn_view(workload, was, pods_);
  }

  // --- detach and attach --------------------------------------------------------------------------------------------

  admin::Answer save(admin::DetachedMarker marker) {
    if (marker.is_empty())
      marker.since.clear();
    else if (marker.since.empty())
      marker.since = admin::to_rfc3339(std::chrono::system_clock::now());
    if (auto done = admin::save_detached_marker(options_.state_dir, marker); !done)
      return admin::refuse(admin::ErrorCode::kFailed, done.error().message);
    marker_ = std::move(marker);
    return json::object{};
  }

  void detach(const json::object& request, admin::Reply reply) {
    const auto scope = admin::decode_scope(request);
    if (!scope) return reply(std::unexpected(scope.error()));
    if (detaching_.joinable())
      return reply(admin::refuse(admin::ErrorCode::kFailed, "a detach of this node is under way already"));
    auto marker = marker_;
    if (scope->ns) {
      if (!store_.snapshot()->namespaces.contains(*scope->ns) &&
          std::ranges::none_of(pods_, [&](const auto& pod) { return pod.id.ns == *scope->ns; }))
        return reply(admin::refuse(admin::ErrorCode::kNotFound, "Namespace " + *scope->ns + ": not found"));
      marker.namespaces.insert(*scope->ns);
    } else {
      marker.node = true;
    }
    if (auto saved = save(std::move(marker)); !saved) return reply(std::move(saved));
    spdlog::info("detach scope={}", scope->ns ? "namespace " + *scope->ns : "node");
    if (scope->ns) {
      recompile();
      return reply(admin::detach_view({}));
    }
    // Our descriptors would keep the programs alive; what is pinned is all the detach needs.
    wakes_.close();
    proxying_->leave_all();
    dataplane_.reset();
    problems_.clear();
    tick_problem_.clear();
    recompile();
    detaching_ = std::thread([self = weak_from_this(), &io = io_, pins = pin_dir(), timeout = scope->timeout,
                              reply = std::move(reply)]() mutable {
      auto result = dataplane::detach_node(pins, timeout,
                                           [](std::string_view progress) { spdlog::info("detaching {}", progress); });
      boost::asio::post(io, [self, result = std::move(result), reply = std::move(reply)] {
        if (const auto alive = self.lock()) alive->detaching_.join();
        if (!result) return reply(admin::refuse(admin::ErrorCode::kFailed, result.error().message));
        spdlog::info("detached pins={} cut={}", result->removed.size(), result->cut.size());
        reply(admin::detach_view(*result));
      });
    });
  }

  void attach(const json::object& request, admin::Reply reply) {
    const auto scope = admin::decode_scope(request);
    if (!scope) return reply(std::unexpected(scope.error()));
    if (detaching_.joinable())
      return reply(admin::refuse(admin::ErrorCode::kFailed, "a detach of this node is under way"));
    auto marker = marker_;
    if (scope->ns)
      marker.namespaces.erase(*scope->ns);
    else
      marker.node = false;
    if (!scope->ns && !dataplane_) {
      if (auto done = open_dataplane(); !done)
        return reply(admin::refuse(admin::ErrorCode::kFailed, done.error().message));
    }
    if (auto saved = save(std::move(marker)); !saved) return reply(std::move(saved));
    spdlog::info("attach scope={}", scope->ns ? "namespace " + *scope->ns : "node");
    recompile();
    reply(json::object{});
  }

  boost::asio::io_context& io_;
  AgentOptions options_;
  std::vector<dataplane::Capability> probed_;        // before anything was attached
  std::vector<dataplane::Capability> capabilities_;  // with what the self-test found
  std::string calls_problem_;                        // as of the last tick
  admin::DetachedMarker marker_;
  dataplane::CgroupPlace pods_cgroup_;
  NetnsCookie host_netns_ = 0;
  int deny_errno_ = 0;

  state::Store store_;
  std::vector<model::Diagnostic> logged_;
  std::optional<admin::WallTime> stale_since_;
  dataplane::NetnsFactCache netns_;
  compile::NetnsFacts facts_;
  compile::NamespaceIds ids_;
  Policing policing_;
  std::vector<compile::PodStatus> pods_;
  learn::Workloads workloads_;
  std::string save_problem_;

  std::unique_ptr<dataplane::Dataplane> dataplane_;  // null while detached
  std::vector<std::string> problems_;                // rows that did not fit
  std::string tick_problem_;
  Serving serving_;
  std::unique_ptr<Proxying> proxying_;
  std::thread detaching_;

  std::unique_ptr<k8s::DirSource> source_;
  std::unique_ptr<admin::Server> admin_;
  std::unique_ptr<admin::HttpServer> metrics_;
  std::unique_ptr<admin::HttpServer> ready_;
  boost::asio::steady_timer timer_;
  boost::asio::posix::stream_descriptor wakes_;
};

Agent::Agent(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Agent::~Agent() { impl_->stop(); }

Result<std::unique_ptr<Agent>> Agent::start(boost::asio::io_context& io, AgentOptions options) {
  auto impl = std::make_shared<Impl>(io, std::move(options));
  if (auto done = impl->start(); !done) return std::unexpected(done.error());
  return std::unique_ptr<Agent>(new Agent(std::move(impl)));
}

}  // namespace underpass
