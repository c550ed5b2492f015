// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <string_view>

#include "agent/compile/ip_blocks.h"
#include "agent/compile/policies.h"
#include "agent/compile/policy_words.h"

namespace underpass::compile {
namespace {

std::string_view to_text(Effect effect) {
  switch (effect) {
    case Effect::kBypass:
      return "bypass";
    case Effect::kDeny:
      return "deny";
    case Effect::kAllow:
      return "allow";
    case Effect::kDryRunDeny:
      return "dry-run deny";
    case Effect::kDryRunAllow:
      return "dry-run allow";
    case Effect::kAudit:
      return "audit";
  }
  return "?";
}

std::string to_text(const ClauseOrigin& origin) {
  return std::string(to_text(origin.effect)) + " " + describe(origin) + (origin.needs_http ? " needs HTTP" : "");
}

std::string to_text(const Identity& identity) {
  switch (identity.kind) {
    case Identity::Kind::kUnauthenticated:
      return "unauthenticated";
    case Identity::Kind::kHost:
      return "host";
    case Identity::Kind::kAccount:
      return identity.account.to_string();
  }
  return "?";
}

std::string to_text(const model::IpBlock& block) {
  return block.base.to_string() + "/" + std::to_string(block.prefix - (is_v4(block) ? kIpv4Prefix : 0));
}

// "0-3 7"; "none".
std::string to_text(const ClauseBits& bits) {
  std::string out;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (!bits[i]) continue;
    const auto first = i;
    while (i + 1 < bits.size() && bits[i + 1]) ++i;
    out += (out.empty() ? "" : " ") + std::to_string(first);
    if (i != first) out += "-" + std::to_string(i);
  }
  return out.empty() ? "none" : out;
}

}  // namespace

std::string to_text(const PolicySet& set) {
  std::string out = set.closed        ? "closed: " + set.why_closed
                    : set.has_allow() ? "default deny: " + join(set.allow_policies)
                                      : "default allow";
  if (set.has_dry_run_allow()) out += ", dry-run default deny: " + join(set.dry_run_allow_policies);
  out += "\n";
  for (std::size_t i = 0; i < set.clauses.size(); ++i) {
    out += "clause " + std::to_string(i) + " " + to_text(set.clauses[i]) + "\n";
  }
  const auto line = [&](std::string_view dimension, const std::string& key, const ClauseBits& bits) {
    out += std::string(dimension) + " " + key + ": " + to_text(bits) + "\n";
  };
  for (const auto& [identity, bits] : set.identities) line("client", to_text(identity), bits);
  line("client", "unknown", set.unknown_identity);
  for (const auto& [block, bits] : set.blocks) line("from", to_text(block), bits);
  for (const auto& [block, bits] : set.destinations) line("to", to_text(block), bits);
  for (const auto& [port, bits] : set.ports) line("port", std::to_string(port), bits);
  line("port", "other", set.other_ports);
  return out;
}

}  // namespace underpass::compile
