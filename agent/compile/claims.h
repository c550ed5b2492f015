// SPDX-License-Identifier: Apache-2.0
// Which pods of other nodes take HBONE, by the word of their node's agent (NodeWorkloads). It is believed where the
// API's own Pod agrees on UID, addresses, service account and node. Once believed, it holds as long as this Pod lives:
// who takes his word back, or is made to, does not bring about a connection in plain text. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass::compile {

class Claims {
 public:
  // Those that the agent before this one believed, by what it left in the kernel.
  void adopt(std::map<NamespacedName, std::set<IpAddress>> pods) { adopted_ = std::move(pods); }
  // The pods of whom something else is claimed than before.
  std::set<NamespacedName> update(const model::Snapshot& snapshot, const model::Changes& changes);
  // Of a pod that its labels have in the mesh.
  bool speaks(const model::Pod& pod);
  // It is gone, or not in the mesh any more.
  void forget(const NamespacedName& pod) {
    believed_.erase(pod);
    adopted_.erase(pod);
  }

 private:
  using Shard = std::shared_ptr<const model::NodeWorkloads>;

  void take(const std::string& name, Shard shard, std::set<NamespacedName>& touched);

  std::map<std::string, Shard> shards_;
  std::map<NamespacedName, std::map<std::string, const model::WorkloadClaim*>> claims_;  // by shard
  std::map<NamespacedName, std::set<IpAddress>> adopted_;
  std::map<NamespacedName, std::string> believed_;  // UIDs
};

// In which of its node's NodeWorkloads a pod stands.
std::uint32_t shard_of(const std::string& uid);

}  // namespace underpass::compile
