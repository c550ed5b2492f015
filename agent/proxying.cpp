// SPDX-License-Identifier: Apache-2.0
#include "agent/proxying.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>

#include "agent/admin/proxy_view.h"
#include "agent/compile/workers.h"
#include "agent/key_sets.h"
#include "agent/worker_metrics.h"

namespace underpass {
namespace {

using State = workers::Status::State;

admin::ProxyConfigInfo::State to_admin(State state) {
  switch (state) {
    case State::kStarting:
      return admin::ProxyConfigInfo::State::kStarting;
    case State::kReady:
      return admin::ProxyConfigInfo::State::kReady;
    case State::kBackingOff:
      return admin::ProxyConfigInfo::State::kBackingOff;
    case State::kDraining:
      return admin::ProxyConfigInfo::State::kDraining;
  }
  return admin::ProxyConfigInfo::State::kStarting;
}

up_addr loopback(bool v6) {
  up_addr out{};
  if (v6) {
    out.bytes[15] = 1;
  } else {
    out.bytes[10] = out.bytes[11] = 0xff;
    out.bytes[12] = 127;
    out.bytes[15] = 1;
  }
  return out;
}

admin::ProxyConfigInfo describe(const compile::PodStatus& pod, const workers::Status& worker) {
  admin::ProxyConfigInfo out{
      .pod = pod.id,
      .capture_reason = pod.capture_reason,
      .worker = worker.name,
      .state = to_admin(worker.state),
      .problem = worker.problem,
      .pid = worker.pid,
      .version = worker.version,
      .restarts = worker.restarts,
      .cgroup = worker.cgroup,
      .table = worker.table,
  };
  if (worker.pid != 0) out.since = worker.since;
  if (const auto found = worker.listeners.find(pod.netns_cookie); found != worker.listeners.end())
    for (const auto& [listener, port] : found->second)
      out.listeners.push_back(
          {.direction = listener.direction, .address = IpAddress(loopback(listener.v6)), .port = port});
  if (const auto found = worker.report.dials.find(pod.netns_cookie); found != worker.report.dials.end())
    std::tie(out.dials4, out.dials6) = found->second;
  return out;
}

}  // namespace

void Proxying::update(const model::Snapshot& snapshot, const compile::Compiled& compiled,
                      dataplane::Dataplane* dataplane) {
  std::map<NetnsCookie, std::string> paths;
  for (const auto& pod : compiled.pods)
    if (pod.netns_cookie != 0) paths.emplace(pod.netns_cookie, pod.netns_path);
  std::set<jwks::Wanted> wanted;
  for (const auto& [id, one] : snapshot.request_authentications) wanted.merge(wanted_sets({one.get(), 1}));
  fetcher_.set_wanted(wanted);
  auto plans = planner_.plan(snapshot, compiled);
  certificates_.set_wanted(wanted_certificates(plans));
  for (auto& [name, plan] : plans) {
    plan.jwks = key_sets_of(fetcher_.sets(), plan.policy_sets);
    certificates_.fill(plan);
  }
  workers_.update(plans, paths, dataplane);
}

admin::Answer Proxying::config(const boost::json::object& request, std::span<const compile::PodStatus> pods) const {
  const auto id = admin::decode_pod(request);
  if (!id) return std::unexpected(id.error());
  const auto pod = admin::find_captured(pods, *id);
  if (!pod) return std::unexpected(pod.error());
  for (const auto& worker : workers_.status())
    if (std::ranges::find(worker.table.pods, (*pod)->netns_cookie, &RoutingTable::Pod::netns) !=
        worker.table.pods.end())
      return admin::proxy_config_view(describe(**pod, worker));
  return admin::refuse(admin::ErrorCode::kNotFound, "Pod " + id->to_string() + ": no worker has it yet");
}

std::vector<prometheus::MetricFamily> Proxying::collect() const {
  std::vector<WorkerMetrics> all;
  for (const auto& worker : workers_.status())
    all.push_back(worker_metrics_of(worker.name, worker.state == State::kReady, worker.restarts, worker.report));
  auto out = collect_worker_metrics(all);
  std::ranges::move(collect_key_sets(fetcher_), std::back_inserter(out));
  std::ranges::move(certificates_.collect(), std::back_inserter(out));
  return out;
}

std::vector<std::string> Proxying::problems() const {
  auto out = workers_.problems();
  std::ranges::move(key_set_problems(fetcher_), std::back_inserter(out));
  std::ranges::move(certificates_.problems(), std::back_inserter(out));
  return out;
}

}  // namespace underpass
