// SPDX-License-Identifier: Apache-2.0
// Which NodeWorkloads are of nodes that are gone: such that had no Node for a minute, as one may be deleted and made
// again. Receivers never believe them, since the pods are gone too; removing them is tidiness. Pure.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace underpass::controller {

class Orphans {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kPatience{60};

  void put_node(const std::string& name) { nodes_.insert(name); }
  void remove_node(const std::string& name) { nodes_.erase(name); }
  void put(const std::string& name, const std::string& node) { shards_[name] = {.node = node, .since = {}}; }
  void remove(const std::string& name) { shards_.erase(name); }

  // Those to be removed now, each named once; call it every few seconds, with both kinds listed.
  std::vector<std::string> due(Time now) {
    std::vector<std::string> out;
    for (auto& [name, shard] : shards_) {
      if (nodes_.contains(shard.node))
        shard.since = {};
      else if (shard.since == Time())
        shard.since = now;
      else if (now - shard.since >= kPatience)
        out.push_back(name);
    }
    for (const auto& name : out) shards_.erase(name);
    return out;
  }

 private:
  struct Shard {
    std::string node;
    Time since;  // the node is gone; zero: it is there
  };

  std::set<std::string> nodes_;
  std::map<std::string, Shard> shards_;
};

}  // namespace underpass::controller
