// SPDX-License-Identifier: Apache-2.0
// What the agent answers: to operators, to Prometheus and to the kubelet.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <iterator>
#include <utility>

#include "agent/agent_impl.h"
#include "agent/log_lines.h"
#include "agent/metric_family.h"
#include "agent/metrics.h"

namespace underpass {
namespace {

namespace json = boost::json;

constexpr const char* kNotWritten = "the first tables are not written yet";

}  // namespace

std::string Agent::Impl::attach_remedy() const {
  return detaching_.marker().node ? "underpassctl attach" : "take the label underpass.dev/mesh off the Node";
}

std::uint64_t Agent::Impl::count(bool compile::PodStatus::* member) const {
  return static_cast<std::uint64_t>(std::ranges::count_if(pods_, [member](const auto& pod) { return pod.*member; }));
}

std::string Agent::Impl::auto_problem() const {
  for (const auto& row : capabilities_)
    if (row.result == "tcp" && !dataplane::concerns_all_modes(row)) return row.reason;
  return "";
}

std::vector<std::string> Agent::Impl::reasons() {
  std::vector<std::string> out = problems_;
  if (!tick_problem_.empty()) out.push_back(tick_problem_);
  if (!migration_problem_.empty())
    out.push_back("an earlier agent's programs are still attached: " + migration_problem_);
  if (!save_problem_.empty()) out.push_back("what is learned is not kept: " + save_problem_);
  const auto& marker = detaching_.marker();
  if (marker.detached()) out.push_back("detached from the node since " + marker.since + ": " + attach_remedy());
  for (const auto& row : capabilities_)
    if (row.result == "tcp" && dataplane::concerns_all_modes(row))
      out.push_back("capability " + row.name + ": " + row.reason);
  const std::string problem = auto_problem().empty() ? calls_problem_ : auto_problem();
  const auto misses_it = [](const compile::PodStatus& pod) { return pod.enrolled && pod.asks_auto; };
  if (!problem.empty() && std::ranges::any_of(pods_, misses_it)) out.push_back("mode auto stays on TCP: " + problem);
  for (const auto& diagnostic : store_.snapshot()->diagnostics) out.push_back(diagnostic_name(diagnostic));
  std::ranges::move(serving_.problems(), std::back_inserter(out));
  std::ranges::move(proxying_->problems(), std::back_inserter(out));
  if (admission_) std::ranges::move(admission_->problems(), std::back_inserter(out));
  if (cluster_) {
    if (const auto missing = cluster_->not_synced())
      out.push_back(*missing);
    else if (!synced_)
      out.emplace_back(kNotWritten);
    else if (!store_.snapshot()->nodes.contains(options_.node_name))
      out.push_back("Node " + options_.node_name + ": not found in the cluster: is --node-name right?");
    std::ranges::move(cluster_->problems(), std::back_inserter(out));
    if (publishing_ && !publishing_->problem().empty()) out.push_back(publishing_->problem());
  }
  return out;
}

admin::Answer Agent::Impl::status() {
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
  info.detached = detaching_.marker();
  info.memory_used = dataplane_ ? dataplane_->maps().used_of_pool(0) : 0;
  info.memory_limit = options_.node_budget;
  auto view = admin::status_view(info);
  view["source"] = cluster_ ? cluster_->view() : json::value();
  return view;
}

std::vector<dataplane::Capability> Agent::Impl::capabilities() const {
  auto rows = capabilities_;
  for (auto& row : rows)
    if (row.name == dataplane::kCallWatch && row.result != "tcp" && !calls_problem_.empty()) {
      row.result = "tcp";
      row.reason = calls_problem_ + ": mode auto stays on TCP";
    }
  return rows;
}

admin::Answer Agent::Impl::connections() {
  const auto connections = dataplane_ ? dataplane_->connections() : std::vector<dataplane::Connection>{};
  return admin::connections_view(connections, admin::PodIndex(pods_, &remotes_), admin::ClockOffset::now(),
                                 service_names(dataplane_.get()));
}

admin::Answer Agent::Impl::flows(const json::object& request) {
  if (dataplane_) follow();
  if (admin::decode_follow(request)) proxying_->follow_requests();
  return serving_.flows(request, pods_, dataplane_.get());
}

std::optional<std::string> Agent::Impl::not_ready() {
  if (detaching_.marker().node) return "detached";
  if (detaching_.marker().node_label) return std::nullopt;  // as the cluster asks: a rollout need not wait for it
  if (!dataplane_) return "the BPF programs are not attached";
  if (synced_) return std::nullopt;
  return cluster_ ? cluster_->not_synced().value_or(kNotWritten) : "no objects yet";
}

admin::Answer Agent::Impl::ready(const json::object& request) {
  const auto instance = admin::decode_instance(request);
  if (!instance) return std::unexpected(instance.error());
  auto reason = not_ready();
  if (!instance->empty() && *instance != options_.instance)
    reason =
        "another agent works on this node: " + (options_.instance.empty() ? "one without a name" : options_.instance);
  return json::object{{"ready", !reason}, {"reason", reason ? json::value(*reason) : json::value()}};
}

void Agent::Impl::retire(const json::object& request, const admin::Reply& reply) {
  const auto asked = admin::decode_retirement(request);
  if (!asked) return reply(std::unexpected(asked.error()));
  const auto refuse = [&reply](std::string why) { reply(admin::refuse(admin::ErrorCode::kFailed, std::move(why))); };
  if (options_.instance.empty() || !options_.retired)
    return refuse("this agent has no --instance: it does not retire for another");
  if (asked->instance == options_.instance) return refuse("--instance " + asked->instance + " is this agent's own");
  spdlog::info("retiring successor={} pid={}", asked->instance, asked->pid);
  if (dataplane_ && proxying_) proxying_->expect_successor();
  auto listeners = asked->listeners ? hand_over() : ipc::Listeners();
  auto answer = admin::encode_listeners(listeners);
  std::vector<UniqueFd> descriptors;
  for (auto& [name, fd] : listeners) descriptors.push_back(std::move(fd));
  reply(std::move(answer), std::move(descriptors));
  boost::asio::post(io_,
                    [retired = options_.retired, successor = static_cast<int>(asked->pid)] { retired(successor); });
}

ipc::Listeners Agent::Impl::hand_over() {
  ipc::Listeners out;
  const auto add = [&out](std::string_view name, UniqueFd fd) {
    if (fd) out.emplace(name, std::move(fd));
  };
  add(ipc::kAdminListener, admin_->hand_over());
  if (admission_) add(ipc::kCniListener, admission_->hand_over());
  if (metrics_) add(ipc::kMetricsListener, metrics_->hand_over());
  if (ready_) add(ipc::kReadyListener, ready_->hand_over());
  return out;
}

std::vector<prometheus::MetricFamily> Agent::Impl::collect() {
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
    input.fill.push_back(dataplane_->remotes().fill());
    follow();
  }
  serving_.describe(input);
  auto families = collect_metrics(input);
  std::ranges::move(serving_.collect(), std::back_inserter(families));
  std::ranges::move(policing_.collect(), std::back_inserter(families));
  std::ranges::move(proxying_->collect(), std::back_inserter(families));
  if (cluster_) std::ranges::move(cluster_->collect(), std::back_inserter(families));
  if (publishing_)
    families.push_back({.name = "underpass_kubernetes_workloads_writes_total",
                        .help = "NodeWorkloads of this node that were written or removed",
                        .type = prometheus::MetricType::Counter,
                        .metric = {counter_metric({}, publishing_->writes())}});
  return families;
}

admin::Answer Agent::Impl::relearn(const json::object& request) {
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

}  // namespace underpass
