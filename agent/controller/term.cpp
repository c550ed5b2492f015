// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/term.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "agent/ca/details.h"
#include "agent/ca/request.h"
#include "agent/controller/orphans.h"
#include "agent/controller/pod_index.h"
#include "agent/controller/policy_status.h"
#include "agent/controller/signer.h"
#include "agent/controller/write_queue.h"
#include "agent/k8s/api/object_watch.h"
#include "agent/k8s/field.h"
#include "agent/metric_family.h"
#include "underpass/model/policy.h"

namespace underpass::controller {
namespace asio = boost::asio;
using k8s::ApiKind;
using k8s::ObjectWatch;
using k8s::Received;
using prometheus::MetricFamily;
using prometheus::MetricType;

namespace {

constexpr std::chrono::seconds kOrphansLook(10);

ApiKind requests_kind() {
  return {.kind = "CertificateSigningRequest",
          .plural = "certificatesigningrequests",
          .group = "certificates.k8s.io",
          .field_selector = "spec.signerName=" + std::string(ca::kSignerName),
          .told = false};
}

ApiKind pods_kind() { return {.kind = "Pod", .plural = "pods", .group = "", .told = false}; }
ApiKind nodes_kind() { return {.kind = "Node", .plural = "nodes", .group = "", .metadata_only = true, .told = false}; }

std::string default_trust_domain() { return model::MeshConfig().trust_domain; }

// Those whose objects agents may refuse, and which have a status.
std::vector<ApiKind> judged_kinds() {
  auto all = k8s::told_kinds();
  std::erase_if(all, [](const ApiKind& kind) { return kind.crd.empty() || kind.kind == "NodeWorkloads"; });
  return all;
}

std::string text_at(const Received& received, std::string_view a, std::string_view b) {
  k8s::Findings ignored;
  return k8s::Field(received.object, ignored)[a][b].string().value_or("");
}

class RunningTerm : public Term {
 public:
  RunningTerm(asio::io_context& io, k8s::ApiClient& client, const TermOptions& options)
      : io_(io),
        client_(client),
        options_(options),
        writes_(WriteQueue::make(io, client)),
        authority_(ClusterAuthority::make(io, client, options.authority,
                                          [this] {
                                            if (signer_) signer_->wake();
                                          })),
        signer_(Signer::make(io, client, {},
                             {.authority = [this] { return may_judge() ? authority_->authority() : nullptr; },
                              .terms = [this] { return terms(); },
                              .runs = [this](const std::string& node, std::string_view ns,
                                             std::string_view account) { return pods_.runs(node, ns, account); }})),
        orphans_timer_(io) {
    watch_pods();
    watch_requests();
    watch_nodes();
    for (const auto& kind : judged_kinds()) watch_judged(kind);
    for (const auto& watch : watches_) watch->start();
    authority_->start();
    look_for_orphans();
  }
  ~RunningTerm() override { *alive_ = false; }
  RunningTerm(const RunningTerm&) = delete;
  RunningTerm& operator=(const RunningTerm&) = delete;

  [[nodiscard]] std::optional<std::string> problem() const override {
    if (!authority_->problem().empty()) return authority_->problem();
    for (const auto& watch : watches_)
      if (const auto state = watch->state(); !state.problem.empty()) return state.kind + ": " + state.problem;
    if (!writes_->problem().empty()) return writes_->problem();
    return std::nullopt;
  }

  [[nodiscard]] std::vector<MetricFamily> collect() const override;

 private:
  // Who runs where, and in which trust domain, is known.
  [[nodiscard]] bool may_judge() const { return pod_watch_->synced() && mesh_watch_->synced(); }

  [[nodiscard]] SigningTerms terms() const {
    return {.agents = options_.agents, .trust_domain = trust_domain_, .longest = options_.longest_certificate};
  }

  ObjectWatch* add(const ApiKind& kind, ObjectWatch::Hooks hooks) {
    watches_.push_back(std::make_unique<ObjectWatch>(io_, client_, kind, std::move(hooks)));
    return watches_.back().get();
  }

  void watch_pods() {
    pod_watch_ = add(pods_kind(), {.seen = [this](const Received& pod) { pods_.put(pod); },
                                   .gone = [this](const NamespacedName& id) { pods_.remove(id); },
                                   .reduce = PodIndex::reduce,
                                   .changed = [this] { signer_->wake(); }});
  }

  void watch_requests() {
    add(requests_kind(), {.seen = [this](Received&& request) { signer_->see(std::move(request)); },
                          .gone = [this](const NamespacedName& id) { signer_->forget(id.name); }});
  }

  void watch_nodes() {
    node_watch_ = add(nodes_kind(), {.seen = [this](const Received& node) { orphans_.put_node(node.name); },
                                     .gone = [this](const NamespacedName& id) { orphans_.remove_node(id.name); }});
    shard_watch_ =
        add(k8s::node_workloads_kind(),
            {.seen = [this](const Received& shard) { orphans_.put(shard.name, text_at(shard, "spec", "node")); },
             .gone = [this](const NamespacedName& id) { orphans_.remove(id.name); }});
  }

  // What the agents make of it, in its status.
  void watch_judged(const ApiKind& kind) {
    const bool is_mesh = kind.kind == "Mesh";
    auto* watch = add(
        kind, {.seen = [this, kind, is_mesh](Received&& received) { judge_object(kind, is_mesh, std::move(received)); },
               .gone =
                   [this, kind, is_mesh](const NamespacedName& id) {
                     writes_->drop(status_path(kind, id));
                     if (is_mesh) trust_domain_ = default_trust_domain();
                   },
               .changed =
                   [this, is_mesh] {
                     if (is_mesh) signer_->wake();
                   }});
    if (is_mesh) mesh_watch_ = watch;
  }

  void judge_object(const ApiKind& kind, bool is_mesh, Received&& received) {
    const auto path = status_path(kind, {received.ns, received.name});
    const auto object = received.object;
    if (object.is_null()) return;  // too large to be read
    const auto trust_domain = text_at(received, "spec", "trustDomain");
    const auto refusal = refusal_of(kind, std::move(received));
    // Of one that is refused the last good version stays in force.
    if (is_mesh && refusal.empty()) trust_domain_ = trust_domain.empty() ? default_trust_domain() : trust_domain;
    if (auto patch = status_patch(object, refusal, std::chrono::system_clock::now()))
      writes_->put({.method = "PATCH", .path = path, .body = std::move(*patch)});
    else
      writes_->drop(path);
  }

  static std::string path_of(const ApiKind& kind, const NamespacedName& id) {
    return k8s::api_path(kind, kind.versions.front(), id.ns, id.name);
  }
  static std::string status_path(const ApiKind& kind, const NamespacedName& id) {
    return path_of(kind, id) + "/status";
  }

  void look_for_orphans() {
    if (node_watch_->synced() && shard_watch_->synced())
      for (const auto& name : orphans_.due(std::chrono::steady_clock::now())) {
        spdlog::info("node-workloads-removed name={} reason=\"its node is gone\"", name);
        writes_->put({.method = "DELETE", .path = path_of(k8s::node_workloads_kind(), {"", name}), .body = {}});
      }
    orphans_timer_.expires_after(kOrphansLook);
    orphans_timer_.async_wait([this, alive = alive_](const boost::system::error_code& error) {
      if (!error && *alive) look_for_orphans();
    });
  }

  asio::io_context& io_;
  k8s::ApiClient& client_;
  TermOptions options_;
  std::string trust_domain_ = default_trust_domain();
  PodIndex pods_;
  Orphans orphans_;
  std::unique_ptr<WriteQueue> writes_;
  std::unique_ptr<ClusterAuthority> authority_;
  std::unique_ptr<Signer> signer_;
  asio::steady_timer orphans_timer_;
  ObjectWatch* pod_watch_ = nullptr;
  ObjectWatch* mesh_watch_ = nullptr;
  ObjectWatch* node_watch_ = nullptr;
  ObjectWatch* shard_watch_ = nullptr;
  std::vector<std::unique_ptr<ObjectWatch>> watches_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::vector<MetricFamily> RunningTerm::collect() const {
  const auto counts = signer_->counts();
  const auto written = writes_->counts();
  MetricFamily objects{
      .name = "underpass_kubernetes_objects", .help = "Objects known from the API server", .type = MetricType::Gauge};
  MetricFamily events{
      .name = "underpass_kubernetes_events_total", .help = "Changes that watches told", .type = MetricType::Counter};
  for (const auto& watch : watches_) {
    const auto state = watch->state();
    objects.metric.push_back(gauge_metric({{"kind", state.kind}}, static_cast<double>(state.objects)));
    events.metric.push_back(counter_metric({{"kind", state.kind}}, state.events));
  }
  MetricFamily expiry{.name = "underpass_certificate_expiry_seconds",
                      .help = "How long a certificate is still valid; below 0: how long it is not.",
                      .type = MetricType::Gauge};
  if (const auto* authority = authority_->authority()) {
    const auto now = std::chrono::system_clock::now();
    const auto add = [&](const ca::CertificatePtr& one, const char* kind) {
      const auto details = ca::describe(one);
      expiry.metric.push_back(gauge_metric({{"identity", details.subject}, {"kind", kind}},
                                           std::chrono::duration<double>(details.not_after - now).count()));
    };
    for (const auto& root : authority->bundle) add(root, "root");
    for (const auto& one : authority->chain) add(one, "intermediate");
  }
  return {{.name = "underpass_controller_certificate_requests_total",
           .help = "CertificateSigningRequests by what became of them.",
           .type = MetricType::Counter,
           .metric = {counter_metric({{"result", "issued"}}, counts.issued),
                      counter_metric({{"result", "denied"}}, counts.denied),
                      counter_metric({{"result", "failed"}}, counts.failed)}},
          gauge_family("underpass_controller_certificate_requests_waiting",
                       "CertificateSigningRequests that have no answer yet.", static_cast<double>(counts.waiting)),
          {.name = "underpass_controller_writes_total",
           .help = "Status conditions written and NodeWorkloads removed, by what became of it.",
           .type = MetricType::Counter,
           .metric = {counter_metric({{"result", "success"}}, written.done),
                      counter_metric({{"result", "failure"}}, written.failed)}},
          std::move(objects),
          std::move(events),
          std::move(expiry)};
}

}  // namespace

std::unique_ptr<Term> Term::begin(asio::io_context& io, k8s::ApiClient& client, const TermOptions& options) {
  return std::make_unique<RunningTerm>(io, client, options);
}

}  // namespace underpass::controller
