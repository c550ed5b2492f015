// SPDX-License-Identifier: Apache-2.0
// What the kernel does with a set, in C++: four look-ups, and the bits that they have in common.
#include <map>

#include "agent/compile/ip_blocks.h"
#include "agent/compile/policies.h"

namespace underpass::compile {
namespace {

const ClauseBits& find_longest(const std::map<model::IpBlock, ClauseBits>& blocks, const IpAddress& ip) {
  const auto whole = whole_family(ip.is_v4());
  for (std::uint8_t prefix = 128; prefix > whole.prefix; --prefix) {
    const auto found = blocks.find(block_around(ip, prefix));
    if (found != blocks.end()) return found->second;
  }
  return blocks.at(whole);
}

const ClauseBits& find_identity(const PolicySet& set, const Identity& client) {
  const auto found = set.identities.find(client);
  return found == set.identities.end() ? set.unknown_identity : found->second;
}

const ClauseBits& find_port(const PolicySet& set, std::uint16_t port) {
  const auto found = set.ports.find(port);
  return found == set.ports.end() ? set.other_ports : found->second;
}

std::vector<std::size_t> indices(const ClauseBits& bits, std::size_t size) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < size; ++i)
    if (bits[i]) out.push_back(i);
  return out;
}

}  // namespace

ClauseBits PolicySet::with_effect(Effect effect) const {
  ClauseBits out;
  for (std::size_t i = 0; i < clauses.size(); ++i) out[i] = clauses[i].effect == effect;
  return out;
}

Verdict decide(const PolicySet& set, const Attempt& attempt) {
  const auto satisfied = find_identity(set, attempt.client) & find_longest(set.blocks, attempt.client_ip) &
                         find_longest(set.destinations, attempt.server_ip) & find_port(set, attempt.server_port);
  const auto matching = [&](Effect effect) { return indices(satisfied & set.with_effect(effect), set.clauses.size()); };
  const auto decided_by = [](Verdict verdict, bool allowed, std::size_t clause) {
    verdict.allowed = allowed;
    verdict.decided_by = static_cast<int>(clause);
    return verdict;
  };

  Verdict out;
  if (const auto bypasses = matching(Effect::kBypass); !bypasses.empty()) return decided_by(out, true, bypasses[0]);
  out.would_deny = matching(Effect::kDryRunDeny);
  out.would_default_deny = set.has_dry_run_allow() && matching(Effect::kDryRunAllow).empty();
  out.audited = matching(Effect::kAudit);
  if (const auto denies = matching(Effect::kDeny); !denies.empty()) return decided_by(out, false, denies[0]);
  if (const auto allows = matching(Effect::kAllow); !allows.empty()) return decided_by(out, true, allows[0]);
  out.default_deny = set.has_allow();
  out.allowed = !set.has_allow() && !set.closed;
  return out;
}

}  // namespace underpass::compile
