// SPDX-License-Identifier: Apache-2.0
// A routing table in force, with the index that traffic threads look pods up in. Made once, shared, never changed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "underpass/routing_table.h"

namespace underpass::session {

class Routes {
 public:
  explicit Routes(RoutingTable table) : table_(std::move(table)) {
    for (const auto& pod : table_.pods) pods_.emplace(pod.netns, &pod);
  }
  Routes(const Routes&) = delete;  // the index points into the table
  Routes& operator=(const Routes&) = delete;

  [[nodiscard]] const RoutingTable& table() const { return table_; }
  [[nodiscard]] const ProxySettings& settings() const { return table_.settings; }

  // Null: not one of this worker's.
  [[nodiscard]] const RoutingTable::Pod* find_pod(NetnsCookie netns) const {
    const auto found = pods_.find(netns);
    return found == pods_.end() ? nullptr : found->second;
  }
  // Null: not told.
  [[nodiscard]] const std::string* find_identity(std::uint32_t number) const {
    const auto found = table_.identities.find(number);
    return found == table_.identities.end() ? nullptr : &found->second;
  }

 private:
  RoutingTable table_;
  std::unordered_map<NetnsCookie, const RoutingTable::Pod*> pods_;
};

using RoutesPtr = std::shared_ptr<const Routes>;

}  // namespace underpass::session
