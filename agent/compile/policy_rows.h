// SPDX-License-Identifier: Apache-2.0
// A policy set as the kernel's maps hold it: rows of bits, each there once, and what leads to them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "agent/compile/policies.h"
#include "underpass/abi.h"

namespace underpass::compile {

static_assert(kMaxClauses == UP_MAX_CLAUSES);

// Gives each service account a number that stays the same while anything in the kernel may still carry it.
class IdentityNumbers {
 public:
  std::uint32_t number_of(const Identity& identity);
  [[nodiscard]] std::optional<NamespacedName> account_of(std::uint32_t number) const;
  // Numbers up to this one are an earlier agent's, and may mean others than its successor would give them.
  void start_after(std::uint32_t number) { next_ = std::max(next_, number + 1); }
  // One that is known to be the earlier agent's.
  void adopt(const NamespacedName& account, std::uint32_t number) {
    numbers_.emplace(account, number);
    start_after(number);
  }
  [[nodiscard]] const std::map<NamespacedName, std::uint32_t>& all() const { return numbers_; }

 private:
  std::map<NamespacedName, std::uint32_t> numbers_;
  std::uint32_t next_ = UP_IDENTITY_FIRST_ACCOUNT;
};

struct PolicyRows {
  struct Block {
    std::uint32_t end;  // UP_CLIENT or UP_SERVER
    model::IpBlock block;
    std::uint32_t row;
  };
  up_policy head{};
  std::vector<up_clauses> rows;                                     // by number
  std::vector<std::pair<std::uint32_t, std::uint32_t>> identities;  // number, row
  std::vector<std::pair<std::uint16_t, std::uint32_t>> ports;       // port, row
  std::vector<Block> blocks;
};

PolicyRows make_rows(const PolicySet& set, IdentityNumbers& numbers);

}  // namespace underpass::compile
