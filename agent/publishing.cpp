// SPDX-License-Identifier: Apache-2.0
#include "agent/publishing.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <utility>

#include "agent/compile/claims.h"
#include "agent/k8s/api/api_kind.h"

namespace underpass {
namespace json = boost::json;
using Clock = std::chrono::steady_clock;

namespace {

constexpr unsigned kNotFound = 404;

std::string path_of(const std::string& name) {
  const auto kind = k8s::node_workloads_kind();
  return k8s::api_path(kind, kind.versions.front(), "", name);
}

json::value shard_object(const std::string& name, const std::string& node, std::uint32_t shard,
                         const std::vector<model::WorkloadClaim>& workloads) {
  const auto kind = k8s::node_workloads_kind();
  json::array list;
  for (const auto& one : workloads) {
    json::array ips;
    for (const auto& ip : one.ips) ips.emplace_back(ip.to_string());
    list.push_back(json::object{{"namespace", one.pod.ns},
                                {"name", one.pod.name},
                                {"uid", one.uid},
                                {"serviceAccount", one.service_account},
                                {"ips", std::move(ips)},
                                {"tunnel", "HBONE"}});
  }
  return json::object{{"apiVersion", kind.group + "/" + kind.versions.front()},
                      {"kind", kind.kind},
                      {"metadata", {{"name", name}}},
                      {"spec", {{"node", node}, {"shard", shard}, {"workloads", std::move(list)}}}};
}

void sort(std::vector<model::WorkloadClaim>& workloads) {
  std::ranges::sort(workloads, {}, &model::WorkloadClaim::uid);
}

}  // namespace

Shards::Wanted Shards::want(const std::vector<Publishable>& pods, const Wanted& present, Time now) {
  std::map<std::string, const model::WorkloadClaim*> told;
  for (const auto& [shard, workloads] : present)
    for (const auto& one : workloads) told.emplace(one.uid, &one);
  Wanted out;
  const auto add = [&](const model::WorkloadClaim& one) { out[compile::shard_of(one.uid)].push_back(one); };
  for (const auto& pod : pods) {
    missing_.erase(pod.claim.uid);
    const auto before = told.find(pod.claim.uid);
    if (pod.ready || before != told.end()) add(pod.claim);
    if (before != told.end()) told.erase(before);
  }
  std::erase_if(missing_, [&](const auto& one) { return !told.contains(one.first); });
  for (const auto& [uid, claim] : told)
    if (now - missing_.try_emplace(uid, now).first->second < kPatience) add(*claim);
  for (auto& [shard, workloads] : out) sort(workloads);
  return out;
}

struct Publishing::State : std::enable_shared_from_this<State> {
  State(k8s::ApiClient& api, std::string name) : client(api), node(std::move(name)) {}

  struct Shard {
    std::shared_ptr<const model::NodeWorkloads> seen;       // as the API server said last; null: it is not there
    std::optional<std::vector<model::WorkloadClaim>> sent;  // written since
    bool busy = false;
    k8s::Backoff backoff;
    Clock::time_point not_before;
  };

  [[nodiscard]] std::string name_of(std::uint32_t number) const { return node + "." + std::to_string(number); }

  [[nodiscard]] std::vector<model::WorkloadClaim> present(const Shard& shard) const {
    auto out = shard.sent ? *shard.sent : (shard.seen ? shard.seen->workloads : std::vector<model::WorkloadClaim>());
    sort(out);
    return out;
  }

  void look(const model::Snapshot& snapshot) {
    for (std::uint32_t number = 0; number < model::kWorkloadShards; ++number) {
      const auto found = snapshot.node_workloads.find(name_of(number));
      const auto now = found == snapshot.node_workloads.end() ? nullptr : found->second;
      auto& shard = shards[number];
      if (now == shard.seen) continue;
      shard.seen = now;
      shard.sent.reset();
    }
  }

  void write(std::uint32_t number, Shard& shard, std::vector<model::WorkloadClaim> workloads) {
    shard.busy = true;
    const auto path = path_of(name_of(number));
    const bool gone = workloads.empty();
    const auto body = gone ? json::value() : shard_object(name_of(number), node, number, workloads);
    client.request(gone ? "DELETE" : "APPLY",
                   gone ? path : path + "?fieldManager=underpass-agent&force=true&fieldValidation=Ignore", body,
                   [weak = weak_from_this(), number, workloads = std::move(workloads)](const auto& answer) {
                     if (const auto self = weak.lock()) self->wrote(number, workloads, answer);
                   });
  }

  void wrote(std::uint32_t number, const std::vector<model::WorkloadClaim>& workloads,
             const Result<k8s::ApiAnswer>& answer) {
    auto& shard = shards[number];
    shard.busy = false;
    const bool done = answer && (answer->status / 100 == 2 || (workloads.empty() && answer->status == kNotFound));
    if (done) {
      ++count;
      shard.sent = workloads;
      shard.backoff.reset();
      problem.clear();
      return;
    }
    shard.not_before = Clock::now() + shard.backoff.next(answer ? answer->retry_after : std::nullopt);
    std::string now =
        "NodeWorkloads " + name_of(number) + ": " + (answer ? k8s::describe(*answer) : answer.error().message);
    if (now != problem) spdlog::warn("publish-failed reason=\"{}\"", now);
    problem = std::move(now);
  }

  k8s::ApiClient& client;
  std::string node;
  Shards wanted;
  std::map<std::uint32_t, Shard> shards;
  std::string problem;
  std::uint64_t count = 0;
};

Publishing::Publishing(k8s::ApiClient& client, std::string node_name)
    : state_(std::make_shared<State>(client, std::move(node_name))) {}

Publishing::~Publishing() = default;

void Publishing::update(const model::Snapshot& snapshot, const std::vector<Publishable>& pods) {
  auto& state = *state_;
  state.look(snapshot);
  Shards::Wanted present;
  for (const auto& [number, shard] : state.shards) present.emplace(number, state.present(shard));
  const auto now = Clock::now();
  auto wanted = state.wanted.want(pods, present, now);
  for (auto& [number, shard] : state.shards) {
    auto& workloads = wanted[number];
    if (shard.busy || now < shard.not_before || workloads == present.at(number)) continue;
    state.write(number, shard, std::move(workloads));
  }
}

void Publishing::withdraw(const model::Snapshot& snapshot, std::function<void()> done) {
  auto& state = *state_;
  state.look(snapshot);
  const auto left = std::make_shared<std::size_t>(1);
  const auto one_less = [left, done = std::move(done)] {
    if (--*left == 0) done();
  };
  for (const auto& [number, shard] : state.shards) {
    if (!shard.seen && !shard.sent) continue;
    ++*left;
    state.client.request("DELETE", path_of(state.name_of(number)), nullptr,
                         [one_less](const Result<k8s::ApiAnswer>& /*answer*/) { one_less(); });
  }
  one_less();
}

const std::string& Publishing::problem() const { return state_->problem; }

std::uint64_t Publishing::writes() const { return state_->count; }

}  // namespace underpass
