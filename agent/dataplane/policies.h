// SPDX-License-Identifier: Apache-2.0
// Policy sets in the kernel: each distinct one once, under a number that is never used again. What a pod is judged by
// changes when its row names another number, and at no other moment.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "agent/compile/policies.h"
#include "agent/compile/policy_rows.h"
#include "agent/compile/policy_words.h"
#include "agent/dataplane/policy_maps.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::dataplane {

class Policies {
 public:
  using Sets = std::map<NetnsCookie, std::shared_ptr<const compile::PolicySet>>;

  // Sets of an earlier agent stay until forget_unused(): pods are judged by them until their rows change.
  explicit Policies(PolicyMaps& maps);

  // Of every pod in `wanted` the number of its set, which is in the kernel then. kClosed where there is no room for it.
  std::map<NetnsCookie, std::uint32_t> prepare(const Sets& wanted, compile::IdentityNumbers& numbers,
                                               std::vector<Error>& errors);
  // Takes away all sets but those of the last prepare().
  void forget_unused();

  // Null: not one of ours.
  [[nodiscard]] const compile::PolicySet* find(std::uint32_t number) const;
  // The set of this number as the kernel has it: of one that is not there, a closed one.
  [[nodiscard]] std::shared_ptr<const compile::PolicySet> in_force(std::uint32_t number) const;
  // Who denied by this clause of this set. Also of those that the last forget_unused() took away: events about them may
  // still be on their way.
  [[nodiscard]] compile::Denier denier_of(std::uint32_t number, std::uint32_t clause) const;

  static constexpr std::uint32_t kClosed = UP_POLICY_CLOSED;

 private:
  struct Present {
    std::shared_ptr<const compile::PolicySet> set;
    compile::PolicyRows rows;
  };

  std::uint32_t number_of(const std::shared_ptr<const compile::PolicySet>& set, compile::IdentityNumbers& numbers,
                          std::vector<Error>& errors);

  PolicyMaps& maps_;
  std::map<std::uint32_t, Present> present_;
  std::map<std::uint32_t, compile::PolicySet> gone_;  // without their bits
  std::set<std::uint32_t> used_;                      // by the last prepare()
  std::set<std::uint32_t> foreign_;                   // an earlier agent's
  std::uint32_t next_ = 1;
};

}  // namespace underpass::dataplane
