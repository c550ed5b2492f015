// SPDX-License-Identifier: Apache-2.0
// Map up_remotes: what stands there becomes what is wanted, row by row, with as many writes as rows differ.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "agent/compile/remotes.h"
#include "agent/dataplane/maps.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class RemoteTable {
 public:
  // Borrows the descriptor from whoever loaded the map. What is there may be an earlier agent's.
  explicit RemoteTable(int fd) : fd_(fd) {}

  // The first time everything, then what the update names, and what could not be written before. A row that does not
  // fit is named in the result.
  std::vector<Error> apply(const compile::Remotes& wanted, const compile::RemoteCompiler::Update& update);

  // The pods that tunnels lead to, as an earlier agent left them, with their addresses.
  [[nodiscard]] std::map<NamespacedName, std::set<IpAddress>> tunnelled() const;
  // Of all rows; 0: there are none.
  [[nodiscard]] std::uint32_t greatest_identity() const;
  [[nodiscard]] Maps::Fill fill() const;

 private:
  int fd_;
  bool fresh_ = true;
  std::set<compile::RemoteKey> failed_;
  std::uint64_t rows_ = 0;  // that are wanted
};

}  // namespace underpass::dataplane
