// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <utility>

#include "agent/agent_impl.h"
#include "agent/identity_file.h"
#include "agent/learn/workloads_file.h"
#include "agent/log_lines.h"
#include "underpass/abi_names.h"

namespace underpass {
namespace {

constexpr auto kTick = std::chrono::seconds(1);
// Workers of an earlier agent have said by then what they have.
constexpr std::chrono::seconds kMigration(2);
constexpr std::chrono::seconds kWithdrawal(3);
constexpr std::chrono::seconds kRemoval(15);  // well within the 30 s that the kubelet gives

}  // namespace

void Agent::Impl::stop() {
  timer_.cancel();
  walk_timer_.cancel();
  wakes_.close();
  admission_.reset();
  publishing_.reset();
  proxying_.reset();  // its certificates come by the cluster's client
  source_.reset();
  cluster_.reset();
  metrics_.reset();
  ready_.reset();
}

void Agent::Impl::leave(std::function<void()> done) {
  if (!cluster_ || !cluster_->removed()) return done();
  spdlog::info("removing reason=\"the DaemonSet is deleted\"");
  if (std::exchange(admission_, nullptr)) Admission::uninstall(admission_options());
  const auto publishing = std::exchange(publishing_, nullptr);
  if (!publishing) return detaching_.remove(pin_dir(), kRemoval, std::move(done));
  // The API server may not answer: the node is left clean all the same.
  const auto first = std::make_shared<std::function<void()>>(
      [this, done = std::move(done)]() mutable { detaching_.remove(pin_dir(), kRemoval, std::move(done)); });
  const auto once = [first] {
    if (const auto remove = std::exchange(*first, nullptr)) remove();
  };
  publishing->withdraw(*store_.snapshot(), once);
  const auto patience = std::make_shared<boost::asio::steady_timer>(io_, kWithdrawal);
  patience->async_wait([patience, once](const boost::system::error_code& /*error*/) { once(); });
}

void Agent::Impl::take(const k8s::Contents& contents) {
  if (!contents.lost)
    stale_since_.reset();
  else if (!stale_since_)
    stale_since_ = std::chrono::system_clock::now();
  store_.update(contents);
  synced_ = true;
  const auto news = take_news(store_.snapshot()->diagnostics);
  for (const auto& diagnostic : news)
    spdlog::warn("object-{} {}", diagnostic.state == model::Diagnostic::State::kStale ? "stale" : "refused",
                 diagnostic_name(diagnostic));
  if (cluster_) cluster_->report(news, contents);
  const auto& nodes = store_.snapshot()->nodes;
  const auto node = nodes.find(options_.node_name);
  detaching_.follow_label(node != nodes.end() && !node->second.mesh.value_or(true), pin_dir());
  recompile();
}

std::vector<model::Diagnostic> Agent::Impl::take_news(const std::vector<model::Diagnostic>& diagnostics) {
  std::vector<model::Diagnostic> news;
  for (const auto& diagnostic : diagnostics)
    if (std::ranges::find(logged_, diagnostic) == logged_.end()) news.push_back(diagnostic);
  logged_ = diagnostics;
  return news;
}

void Agent::Impl::recompile() {
  update_tables();
  if (synced_) update_verdicts();  // at once, so that a new pod's counts are seen from their beginning
}

void Agent::Impl::update_tables() {
  do {
    if (synced_) write_tables();
  } while (admission_ && admission_->update(admission_view()));
}

Admission::View Agent::Impl::admission_view() const {
  return {.snapshot = *store_.snapshot(),
          .pods = pods_,
          .dataplane = dataplane_.get(),
          .synced = synced_,
          .detached = detaching_.marker().detached()};
}

void Agent::Impl::write_tables() {
  const auto& snapshot = *store_.snapshot();
  facts_ = netns_.refresh(snapshot, options_.node_name);
  auto compiled = compile::compile_tables(
      snapshot, facts_,
      {.node_name = options_.node_name,
       .trust_domain = snapshot.mesh.value_or(model::MeshConfig{}).trust_domain,
       .detached_namespaces = {detaching_.marker().namespaces.begin(), detaching_.marker().namespaces.end()},
       .host_netns = host_netns_,
       .verdicts = workloads_.decided(),
       .auto_problem = auto_problem()},
      ids_);
  const auto changes = store_.take_changes();
  const auto remotes = remotes_.update(snapshot, changes, options_.node_name, compiled, policing_.numbers());
  policing_.update(snapshot, compiled);
  save_identities();
  if (dataplane_) {
    follow();  // while the sets that go now can be named
    problems_.clear();
    auto errors = dataplane_->apply_remotes(remotes_.remotes(), remotes);
    std::ranges::move(dataplane_->apply(compiled.tables, policing_.numbers()), std::back_inserter(errors));
    for (const auto& error : errors) {
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
  serving_.update(snapshot, changes, dataplane_.get());
  serving_.note_pods(pods_, snapshot);
  publish();
  schedule_walk();
}

void Agent::Impl::follow_netns() {
  if (!synced_) return;
  if (netns_.refresh(*store_.snapshot(), options_.node_name) != facts_)
    update_tables();
  else
    schedule_walk();
}

void Agent::Impl::publish() {
  if (!publishing_ || !synced_) return;
  const auto& snapshot = *store_.snapshot();
  const auto ready = proxying_->tunnelling();
  std::vector<Publishable> all;
  for (const auto& status : pods_) {
    const auto pod = snapshot.pods.find(status.id);
    if (!status.enrolled || pod == snapshot.pods.end() || pod->second.uid.empty()) continue;
    all.push_back({.claim = {.pod = status.id,
                             .uid = pod->second.uid,
                             .service_account = pod->second.service_account,
                             .ips = pod->second.ips},
                   .ready = ready.contains(status.netns_cookie)});
  }
  publishing_->update(snapshot, all);
}

void Agent::Impl::schedule_walk() {
  const auto next = netns_.next_walk();
  if (!next) return;
  walk_timer_.expires_at(*next);
  walk_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (!error && self) self->follow_netns();
  });
}

void Agent::Impl::await_wake() {
  wakes_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [weak = weak_from_this()](const boost::system::error_code& error) {
                      const auto self = weak.lock();
                      if (error || !self || !self->dataplane_) return;
                      self->attend();
                      self->await_wake();
                    });
}

void Agent::Impl::attend() {
  for (const auto& reset : dataplane_->attend()) {
    spdlog::warn("connection-reset connection=\"{}\" reason={}{}", reset.connection, name_of(reset.why),
                 reset.done ? "" : " failed=\"" + reset.done.error().message + "\"");
  }
}

void Agent::Impl::follow() {
  const auto flows = dataplane_->take_flows();
  serving_.tick(*dataplane_, pods_, *store_.snapshot(), flows);
  policing_.tick(*dataplane_, pods_, flows);
}

void Agent::Impl::update_verdicts() {
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
  save_identities();  // of pods, too
  if (workloads_.unsaved()) save_workloads();
}

void Agent::Impl::save_identities() {
  const auto& numbers = policing_.numbers();
  if (!dataplane_ || numbers.all().size() == saved_identities_) return;
  const auto done = underpass::save_identities(identity_path(options_.run_dir), numbers);
  if (!done) spdlog::error("save-failed {}", done.error().message);
  if (done) saved_identities_ = numbers.all().size();
}

void Agent::Impl::save_workloads() {
  auto done = learn::save_workloads(options_.state_dir, workloads_.to_remember());
  if (done) workloads_.saved();
  if (!done && done.error().message != save_problem_) spdlog::error("save-failed {}", done.error().message);
  save_problem_ = done ? "" : done.error().message;
}

void Agent::Impl::schedule_tick() {
  timer_.expires_after(kTick);
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (error || !self) return;
    self->tick();
    self->schedule_tick();
  });
}

void Agent::Impl::complete_migration() {
  if (!dataplane_ || !dataplane_->is_migrating() || !synced_) return;
  const auto now = std::chrono::steady_clock::now();
  if (!filled_) filled_ = now;
  if (now - *filled_ < kMigration) return;
  const auto done = dataplane_->complete();
  if (!done && done.error().message != migration_problem_) spdlog::error("migration-failed {}", done.error().message);
  migration_problem_ = done ? "" : done.error().message;
  if (!done) return;  // until the next tick
  spdlog::info("pins-migrated note=\"from an earlier layout; connections that there were go on as plain TCP\"");
  filled_.reset();
  update_tables();
}

void Agent::Impl::tick() {
  complete_migration();
  if (dataplane_) {
    attend();
    auto done = dataplane_->tick(policing_.numbers());
    log_cut(dataplane_->take_cut());
    if (!done && done.error().message != tick_problem_) spdlog::error("tick-failed {}", done.error().message);
    tick_problem_ = done ? "" : done.error().message;
    if (synced_) follow();
  }
  proxying_->tick();
  if (cluster_) cluster_->tick(*store_.snapshot(), pods_);
  const bool calls_changed = dataplane_ && dataplane_->calls_problem() != calls_problem_;
  if (calls_changed) {
    calls_problem_ = dataplane_->calls_problem();
    if (!calls_problem_.empty()) spdlog::warn("calls-not-watched reason=\"{}\"", calls_problem_);
    update_tables();
  }
  follow_netns();
  if (admission_ && admission_->waits()) update_tables();
  publish();
  if (synced_) update_verdicts();
}

Agent::Agent(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Agent::~Agent() { impl_->stop(); }

void Agent::leave(std::function<void()> done) { impl_->leave(std::move(done)); }

Result<std::unique_ptr<Agent>> Agent::start(boost::asio::io_context& io, AgentOptions options, ipc::Listeners handed) {
  auto impl = std::make_shared<Impl>(io, std::move(options), std::move(handed));
  if (auto done = impl->start(); !done) return std::unexpected(done.error());
  return std::unique_ptr<Agent>(new Agent(std::move(impl)));
}

}  // namespace underpass
