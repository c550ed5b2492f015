// SPDX-License-Identifier: Apache-2.0
// Typed access to the pinned maps of policy. File descriptors are borrowed from whoever loaded them.
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "agent/compile/policy_rows.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class PolicyMaps {
 public:
  struct Fds {
    int policies = -1, clauses = -1, who = -1, port = -1, ip = -1, denied = -1;
  };
  PolicyMaps() = default;
  explicit PolicyMaps(Fds fds) : fds_(fds) {}

  // All of the set, or, where there is no room for it, nothing. Nobody knows the number yet.
  Result<void> put(std::uint32_t set, const compile::PolicyRows& rows);
  // Nobody names the number any more; who still does is denied.
  void remove(std::uint32_t set, const compile::PolicyRows& rows);

  // The numbers of all sets that are there, whole or not.
  [[nodiscard]] std::set<std::uint32_t> sets() const;
  // How often which clause denied, or would have. forget_denied(): of sets that are gone.
  [[nodiscard]] std::vector<std::pair<up_denied_key, std::uint64_t>> denied() const;
  void forget_denied(const up_denied_key& key);

  // The greatest number of an identity that some set knows; 0: none does.
  [[nodiscard]] std::uint32_t greatest_identity() const;
  // The same as remove() where it is not known what they hold.
  void remove_all(const std::set<std::uint32_t>& sets);

 private:
  Result<void> write(std::uint32_t set, const compile::PolicyRows& rows);

  Fds fds_;
};

}  // namespace underpass::dataplane
