// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/claims.h"

#include <algorithm>
#include <cstdint>

namespace underpass::compile {
namespace {

bool agrees(const model::Pod& pod, const model::NodeWorkloads& shard, const model::WorkloadClaim& claim) {
  return !pod.uid.empty() && claim.uid == pod.uid && shard.node == pod.node_name &&
         claim.service_account == pod.service_account && std::ranges::is_permutation(claim.ips, pod.ips);
}

}  // namespace

// FNV-1a.
std::uint32_t shard_of(const std::string& uid) {
  std::uint32_t hash = 2166136261u;
  for (const char c : uid) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash % model::kWorkloadShards;
}

std::set<NamespacedName> Claims::update(const model::Snapshot& snapshot, const model::Changes& changes) {
  std::set<NamespacedName> touched;
  const auto look = [&](const std::string& name) {
    const auto found = snapshot.node_workloads.find(name);
    take(name, found == snapshot.node_workloads.end() ? nullptr : found->second, touched);
  };
  if (!changes.everything) {
    for (const auto& name : changes.node_workloads) look(name);
    return touched;
  }
  std::set<std::string> names;
  for (const auto& [name, shard] : shards_) names.insert(name);
  for (const auto& [name, shard] : snapshot.node_workloads) names.insert(name);
  for (const auto& name : names) look(name);
  return touched;
}

void Claims::take(const std::string& name, Shard shard, std::set<NamespacedName>& touched) {
  const auto known = shards_.find(name);
  const Shard before = known == shards_.end() ? nullptr : known->second;
  if (before == shard) return;
  const auto has = [](const Shard& in, const model::WorkloadClaim& claim) {
    return in && std::ranges::find(in->workloads, claim) != in->workloads.end();
  };
  if (before)
    for (const auto& claim : before->workloads) {
      if (!has(shard, claim)) touched.insert(claim.pod);
      const auto place = claims_.find(claim.pod);
      if (place == claims_.end()) continue;
      place->second.erase(name);
      if (place->second.empty()) claims_.erase(place);
    }
  if (!shard) {
    shards_.erase(known);
    return;
  }
  for (const auto& claim : shard->workloads) {
    if (!has(before, claim)) touched.insert(claim.pod);
    claims_[claim.pod][name] = &claim;
  }
  shards_[name] = std::move(shard);
}

bool Claims::speaks(const model::Pod& pod) {
  if (const auto believed = believed_.find(pod.id); believed != believed_.end()) {
    if (believed->second == pod.uid) return true;
    believed_.erase(believed);
  }
  if (const auto adopted = adopted_.find(pod.id); adopted != adopted_.end()) {
    const bool same = std::ranges::any_of(pod.ips, [&](const auto& ip) { return adopted->second.contains(ip); });
    adopted_.erase(adopted);
    if (same) {
      believed_[pod.id] = pod.uid;
      return true;
    }
  }
  const auto found = claims_.find(pod.id);
  if (found == claims_.end()) return false;
  for (const auto& [name, claim] : found->second) {
    if (!agrees(pod, *shards_.at(name), *claim)) continue;
    believed_[pod.id] = pod.uid;
    return true;
  }
  return false;
}

}  // namespace underpass::compile
