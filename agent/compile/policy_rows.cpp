// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/policy_rows.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

namespace underpass::compile {
namespace {

// Numbers rows; one that was there before has its number already.
class RowNumbers {
 public:
  explicit RowNumbers(std::vector<up_clauses>& rows) : rows_(rows) {}

  std::uint32_t number_of(const ClauseBits& bits) {
    const auto [found, fresh] = known_.try_emplace(bits, static_cast<std::uint32_t>(rows_.size()));
    if (fresh) rows_.push_back(to_words(bits));
    return found->second;
  }

 private:
  static up_clauses to_words(const ClauseBits& bits) {
    up_clauses out{};
    for (std::size_t bit = bits._Find_first(); bit < bits.size(); bit = bits._Find_next(bit))
      out.words[bit / 64] |= std::uint64_t{1} << bit % 64;
    return out;
  }

  std::vector<up_clauses>& rows_;
  std::unordered_map<ClauseBits, std::uint32_t> known_;
};

// The first clause whose effect comes after this one.
std::uint32_t end_of(const PolicySet& set, Effect effect) {
  const auto after = std::ranges::find_if(set.clauses, [&](const auto& clause) { return clause.effect > effect; });
  return static_cast<std::uint32_t>(after - set.clauses.begin());
}

}  // namespace

std::uint32_t IdentityNumbers::number_of(const Identity& identity) {
  if (identity.kind == Identity::Kind::kUnauthenticated) return UP_IDENTITY_UNAUTHENTICATED;
  if (identity.kind == Identity::Kind::kHost) return UP_IDENTITY_HOST;
  const auto [found, fresh] = numbers_.try_emplace(identity.account, next_);
  if (fresh) ++next_;
  return found->second;
}

std::optional<NamespacedName> IdentityNumbers::account_of(std::uint32_t number) const {
  const auto found = std::ranges::find_if(numbers_, [&](const auto& entry) { return entry.second == number; });
  if (found == numbers_.end()) return std::nullopt;
  return found->first;
}

PolicyRows make_rows(const PolicySet& set, IdentityNumbers& numbers) {
  PolicyRows out;
  RowNumbers rows(out.rows);
  out.head.bypass_end = end_of(set, Effect::kBypass);
  out.head.deny_end = end_of(set, Effect::kDeny);
  out.head.allow_end = end_of(set, Effect::kAllow);
  out.head.dry_run_deny_end = end_of(set, Effect::kDryRunDeny);
  out.head.dry_run_allow_end = end_of(set, Effect::kDryRunAllow);
  out.head.clauses = static_cast<std::uint32_t>(set.clauses.size());
  out.head.closes = set.closed || set.has_allow() ? 1 : 0;
  out.head.dry_run_closes = set.has_dry_run_allow() ? 1 : 0;
  out.head.unknown_identity_row = rows.number_of(set.unknown_identity);
  out.head.other_ports_row = rows.number_of(set.other_ports);
  for (const auto& [identity, bits] : set.identities)
    out.identities.emplace_back(numbers.number_of(identity), rows.number_of(bits));
  for (const auto& [port, bits] : set.ports) out.ports.emplace_back(port, rows.number_of(bits));
  for (const auto& [block, bits] : set.blocks) out.blocks.push_back({UP_CLIENT, block, rows.number_of(bits)});
  for (const auto& [block, bits] : set.destinations) out.blocks.push_back({UP_SERVER, block, rows.number_of(bits)});
  return out;
}

}  // namespace underpass::compile
