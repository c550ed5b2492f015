// SPDX-License-Identifier: Apache-2.0
// How the agent starts: the host is looked at, the kernel tried, and everything opened that can fail.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>
#include <utility>

#include "agent/agent_impl.h"
#include "agent/ca/folder_issuer.h"
#include "agent/ca/remembered.h"
#include "agent/cluster_issuer.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/pod_finder.h"
#include "agent/dataplane/self_test.h"
#include "agent/identity_file.h"
#include "agent/jwks/address_guard.h"
#include "agent/k8s/dir_source.h"
#include "agent/learn/workloads_file.h"

namespace underpass {
namespace {

namespace json = boost::json;

Result<void> make_folder(const std::string& flag, const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(flag + " " + path + ": " + error.message());
  return {};
}

}  // namespace

Agent::Impl::Impl(boost::asio::io_context& io, AgentOptions options, ipc::Listeners handed)
    : io_(io),
      options_(std::move(options)),
      handed_(std::move(handed)),
      detaching_(io, options_.state_dir, detaching_hooks()),
      serving_(options_.node_name, in_cluster() ? compile::MissingSlices::kNone : compile::MissingSlices::kDerived,
               remotes_),
      timer_(io),
      walk_timer_(io),
      wakes_(io) {}

Result<void> Agent::Impl::start() {
  if (auto done = prepare_host(); !done) return done;
  if (auto done = open_admin(); !done) return done;  // also refuses a second agent on this run-dir

  if (auto done = open_source(); !done) return done;
  if (detaching_.marker().detached())
    spdlog::warn("node-detached since={} remedy=\"{}\"", detaching_.marker().since, attach_remedy());
  else if (auto done = open_dataplane(); !done)
    return done;
  if (auto done = open_http(); !done) return done;
  proxying_ = std::make_unique<Proxying>(
      io_,
      workers::Options{
          .binary = options_.proxy,
          .run_dir = options_.run_dir,
          .cgroup_root = options_.cgroup_root,
          .log_level = options_.log_level,
          .on_metrics =
              [this](const auto& worker, const auto& metrics) {
                if (dataplane_) serving_.hear(worker, metrics, *dataplane_);
                policing_.hear(worker, metrics.notices, pods_);
              },
          .on_requests = [this](const auto& worker, auto requests) { serving_.hear(worker, std::move(requests)); }},
      jwks::FetcherOptions{.file = jwks::sets_path(options_.state_dir),
                           .may_dial = [guard = jwks::GuardOptions{.allow_private = options_.allow_private_jwks}](
                                           const std::string& host,
                                           const IpAddress& address) { return jwks::may_dial(guard, host, address); }},
      certificate_options(), [this] { recompile(); });
  if (cluster_) publishing_ = std::make_unique<Publishing>(cluster_->client(), options_.node_name);
  if (auto done = open_admission(); !done) return done;
  handed_.clear();  // what another version listened on, too
  if (cluster_)
    cluster_->start();
  else
    source_->start();
  spdlog::info("agent-ready version={} node={} cgroup={} pins={} metrics={} ready={}", UNDERPASS_VERSION,
               options_.node_name, options_.cgroup_root, pin_dir(), metrics_->local().to_string(),
               ready_->local().to_string());
  schedule_tick();
  return {};
}

Result<void> Agent::Impl::prepare_host() {
  if (auto done = dataplane::check_capabilities(); !done) return done;
  if (options_.cgroup_root.empty()) {
    auto root = dataplane::find_cgroup_root();
    if (!root) return std::unexpected(root.error());
    options_.cgroup_root = *root;
  }
  if (auto done = dataplane::check_cgroup_root(options_.cgroup_root); !done) return done;
  if (options_.pods_cgroup.empty() && in_cluster())
    options_.pods_cgroup = dataplane::find_pods_cgroup(options_.cgroup_root).value_or("");
  if (options_.pods_cgroup.empty()) options_.pods_cgroup = options_.cgroup_root;
  auto pods_cgroup = dataplane::id_of_cgroup(options_.pods_cgroup);
  if (!pods_cgroup) return fail_in("--pods-cgroup", pods_cgroup.error());
  pods_cgroup_ = *pods_cgroup;
  if (auto done = dataplane::prepare_bpffs(options_.bpffs, in_cluster() && options_.kubeconfig.empty()); !done)
    return done;
  if (auto done = make_folder("--run-dir", options_.run_dir); !done) return done;
  if (auto done = make_folder("--state-dir", options_.state_dir); !done) return done;
  if (auto own = dataplane::probe_netns("/proc/self/ns/net")) host_netns_ = own->cookie;
  if (options_.node_budget == 0) options_.node_budget = dataplane::default_node_budget();

  auto probed = dataplane::probe_capabilities(options_.watchpoints);
  if (!probed) return std::unexpected(probed.error());
  probed_ = std::move(*probed);
  deny_errno_ = dataplane::probe_deny_errno();
  capabilities_ = probed_;
  if (auto done = detaching_.load(); !done) return done;
  auto learned = learn::load_workloads(options_.state_dir);
  if (!learned.problem.empty()) spdlog::warn("workloads-lost {}", learned.problem);
  workloads_ = learn::Workloads(std::move(learned.workloads));
  return {};
}

unsigned Agent::Impl::test_kernel() {
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

Result<void> Agent::Impl::open_dataplane() {
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
  if (policing_.numbers().all().empty())
    if (auto done = load_identities(identity_path(options_.run_dir), policing_.numbers()); !done)
      spdlog::warn("identities-lost {}", done.error().message);
  policing_.numbers().start_after(dataplane_->greatest_identity());
  remotes_.adopt(dataplane_->remotes().tunnelled());
  if (!tables.pods.empty()) spdlog::info("pins-adopted pods={}", tables.pods.size());
  return {};
}

Result<void> Agent::Impl::open_admin() {
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
             reply(serving_.explain(request, *store_.snapshot(), pods_, dataplane_.get()));
           }},
          {"proxy-config", [this](const json::object& request,
                                  const admin::Reply& reply) { reply(proxying_->config(request, pods_)); }},
          {"certs",
           [this](const json::object& request, const admin::Reply& reply) { reply(proxying_->certs(request)); }},
          {"rotate-root", [this](const json::object&, const admin::Reply& reply) { reply(proxying_->rotate_root()); }},
          {"flows", [this](const json::object& request, const admin::Reply& reply) { reply(flows(request)); }},
          {"ready", [this](const json::object& request, const admin::Reply& reply) { reply(ready(request)); }},
          {"retire", [this](const json::object& request, const admin::Reply& reply) { retire(request, reply); }},
          {"relearn", [this](const json::object& request, const admin::Reply& reply) { reply(relearn(request)); }},
          {"detach", [this](const json::object& request,
                            admin::Reply reply) { detaching_.detach(request, pin_dir(), std::move(reply)); }},
          {"attach",
           [this](const json::object& request, const admin::Reply& reply) { detaching_.attach(request, reply); }},
      }),
      {}, ipc::take_listener(handed_, ipc::kAdminListener));
  if (!server) return std::unexpected(server.error());
  admin_ = std::move(*server);
  return {};
}

Result<void> Agent::Impl::open_source() {
  const auto listener = [this](const k8s::Contents& contents) { take(contents); };
  if (in_cluster()) {
    auto cluster = Cluster::open(
        io_, {.kubeconfig = options_.kubeconfig, .node_name = options_.node_name, .daemon_set = options_.daemon_set},
        listener);
    if (!cluster) return fail_in("--source kubernetes", cluster.error());
    cluster_ = std::move(*cluster);
    return {};
  }
  auto source = k8s::DirSource::open(io_, options_.source_dir, listener);
  if (!source) return std::unexpected(source.error());
  source_ = std::move(*source);
  return {};
}

Certificates::Options Agent::Impl::certificate_options() {
  const auto life = options_.certificate_lifetime;
  if (!options_.ask_controller) {
    const ca::UpkeepOptions upkeep{.svid_life = life, .overlap = options_.root_overlap};
    const auto folder = options_.ca_dir.empty() ? options_.state_dir + "/ca" : options_.ca_dir;
    return {.keeper = {.issuer = std::make_unique<ca::FolderIssuer>(folder, upkeep), .svid_life = life},
            .remembered = ""};
  }
  const auto path = ca::remembered_path(options_.run_dir);
  auto remembered = ca::load_remembered(path);
  if (!remembered) spdlog::warn("certificates-lost {}: they are asked for anew", remembered.error().message);
  auto known = remembered ? std::move(*remembered) : ca::Remembered();
  return {.keeper = {.issuer = make_cluster_issuer(io_, cluster_->client(),
                                                   {.trust_bundle = options_.trust_bundle,
                                                    .known_bundle = std::move(known.trust_bundle),
                                                    .svid_life = life}),
                     .svid_life = life,
                     .remembered = std::move(known.certificates)},
          .remembered = path};
}

AdmissionOptions Agent::Impl::admission_options() const {
  return {.node_name = options_.node_name,
          .run_dir = options_.run_dir,
          .state_dir = options_.state_dir,
          .plugin = options_.cni_plugin,
          .bin_dir = options_.cni_bin_dir,
          .conf_dir = options_.cni_conf_dir};
}

Result<void> Agent::Impl::open_admission() {
  if (!options_.cni) return {};
  const auto hand_over = [this](const std::string& uid, UniqueFd netns, std::vector<IpAddress> ips) {
    netns_.hand_over(uid, std::move(netns), std::move(ips));
  };
  auto admission = Admission::open(io_, admission_options(),
                                   {.hand_over = hand_over,
                                    .take_back = [this](const std::string& uid) { netns_.take_back(uid); },
                                    .recompile = [this] { recompile(); }},
                                   ipc::take_listener(handed_, ipc::kCniListener));
  if (!admission) return std::unexpected(admission.error());
  admission_ = std::move(*admission);
  return {};
}

Detaching::Hooks Agent::Impl::detaching_hooks() {
  return {.attached = [this] { return dataplane_ != nullptr; },
          .attach = [this] { return open_dataplane(); },
          .let_go =
              [this] {
                wakes_.close();
                if (proxying_) proxying_->leave_all();
                dataplane_.reset();
                problems_.clear();
                tick_problem_.clear();
              },
          .recompile = [this] { recompile(); },
          .knows_namespace =
              [this](const std::string& ns) {
                return store_.snapshot()->namespaces.contains(ns) ||
                       std::ranges::any_of(pods_, [&](const auto& pod) { return pod.id.ns == ns; });
              }};
}

Result<void> Agent::Impl::open_http() {
  auto metrics =
      admin::listen_at(io_, "--metrics", options_.metrics, admin::metrics_pages([this] { return collect(); }),
                       ipc::take_listener(handed_, ipc::kMetricsListener));
  if (!metrics) return std::unexpected(metrics.error());
  metrics_ = std::move(*metrics);
  auto ready = admin::listen_at(io_, "--ready", options_.ready, admin::ready_pages([this] { return not_ready(); }),
                                ipc::take_listener(handed_, ipc::kReadyListener));
  if (!ready) return std::unexpected(ready.error());
  ready_ = std::move(*ready);
  return {};
}

}  // namespace underpass
