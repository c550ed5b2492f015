// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/authz/authorizer.h"

#include <cassert>
#include <utility>

#include "userspace_proxy/authz/rules.h"

namespace underpass::authz {

struct Authorizer::Known::Bits {
  std::vector<Word> clauses;  // those that nothing of the connection speaks against
};

Authorizer::Known::Known() = default;
Authorizer::Known::~Known() = default;
Authorizer::Known::Known(Known&&) noexcept = default;
Authorizer::Known& Authorizer::Known::operator=(Known&&) noexcept = default;

Authorizer::Authorizer(const HttpPolicySet& set, const std::string& /*trust_domain*/)
    : rules_(std::make_unique<Rules>(set)) {}
Authorizer::~Authorizer() = default;

Authorizer::Known Authorizer::know(const Peer& peer) const {
  Known out;
  out.bits_ = std::make_unique<Known::Bits>(rules_->match_peer(peer));
  return out;
}

Verdict Authorizer::decide(const Known& peer, const Subject& subject) const {
  if (rules_->is_closed()) return rules_->closed();
  assert(peer.bits_);
  return rules_->judge(rules_->match_request(peer.bits_->clauses, subject), true);
}

Verdict Authorizer::decide_after_custom(const Known& peer, const Subject& subject) const {
  if (rules_->is_closed()) return rules_->closed();
  assert(peer.bits_);
  return rules_->judge(rules_->match_request(peer.bits_->clauses, subject), false);
}

Verdict Authorizer::decide_tcp(const Known& peer) const {
  if (rules_->is_closed()) return rules_->closed();
  assert(peer.bits_);
  const auto matched = rules_->match_tcp(peer.bits_->clauses);
  if (const auto i = rules_->first(matched, Effect::kAsk); i != kNone) {
    return {.kind = Verdict::Kind::kDeny, .decided_by = rules_->name_of(i)};
  }
  return rules_->judge(matched, false);
}

bool Authorizer::may_pass(const Known& peer) const {
  assert(peer.bits_);
  return !rules_->is_closed() && rules_->may_pass(peer.bits_->clauses);
}

}  // namespace underpass::authz
