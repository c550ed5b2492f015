// SPDX-License-Identifier: Apache-2.0
// Why a request may pass or not, clause by clause, for people. Each thing that a clause asks for is put to an index of
// its own, so that it is matched by the code that decides.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/authz/facts.h"
#include "userspace_proxy/authz/rules.h"

namespace underpass::authz {
namespace {

using model::StringMatch;
using Kind = Fact::Kind;

bool is_address(const Fact& fact) {
  return fact.kind == Kind::kSourceIp || fact.kind == Kind::kRemoteIp || fact.kind == Kind::kDestinationIp;
}

// Back from to_text(): "10.0.0.0/8", or an address where all bits are there.
std::string address_of(std::string_view bits) {
  const bool is_v4 = bits.starts_with('4');
  const std::size_t begin = is_v4 ? 96 : 0;
  bits.remove_prefix(1);
  up_addr address{};
  if (is_v4) address.bytes[10] = address.bytes[11] = 0xff;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const auto bit = begin + i;
    if (bits[i] == '1') address.bytes[bit / 8] |= static_cast<std::uint8_t>(0x80U >> (bit % 8));
  }
  const auto text = IpAddress(address).to_string();
  return begin + bits.size() == 128 ? text : text + "/" + std::to_string(bits.size());
}

std::string shown(const Fact& fact, std::string_view text) {
  if (is_address(fact)) return address_of(text);
  std::string out(text);
  if (fact.kind == Kind::kRequestPrincipal) std::ranges::replace(out, jwt::kPrincipalSeparator, '/');
  return out;
}

std::string shown(const Fact& fact, const StringMatch& match) {
  const auto text = shown(fact, match.text);
  if (is_address(fact)) return text;
  switch (match.kind) {
    case StringMatch::Kind::kPrefix:
      return text + "*";
    case StringMatch::Kind::kSuffix:
      return "*" + text;
    case StringMatch::Kind::kPresent:
      return "*";
    default:
      return text;
  }
}

std::string joined(const Fact& fact, const std::vector<StringMatch>& matches) {
  constexpr std::size_t kShown = 5;
  std::string out;
  for (std::size_t i = 0; i < std::min(matches.size(), kShown); ++i) {
    out += (i == 0 ? "" : ", ") + shown(fact, matches[i]);
  }
  return matches.size() > kShown ? out + " and " + std::to_string(matches.size() - kShown) + " more" : out;
}

std::string_view name_of(Effect effect) {
  static constexpr std::array<std::string_view, kEffects> kNames{"CUSTOM",          "DENY", "ALLOW", "DENY (dry run)",
                                                                 "ALLOW (dry run)", "AUDIT"};
  return kNames.at(static_cast<std::size_t>(effect));
}

class Explainer {
 public:
  Explainer(const Peer& peer, const Subject& subject) : peer_(peer), subject_(subject) {}

  [[nodiscard]] Explanation explain(const Rules::Read& read) const {
    Explanation out{.clause = title_of(read.clause)};
    if (!read.demand.unknown.empty()) {
      (read.is_in_force() ? out.ignored : out.misses).push_back(read.demand.unknown);
    }
    for (const auto& requirement : read.demand.requirements) check(requirement, out.misses);
    out.matches = out.misses.empty();
    return out;
  }

 private:
  static std::string title_of(const Rules::Clause& clause) {
    auto out = std::string(name_of(Rules::effect_of(*clause.policy))) + " " + clause.name();
    if (clause.source >= 0) out += " from " + std::to_string(clause.source);
    if (clause.operation >= 0) out += " to " + std::to_string(clause.operation);
    return out;
  }

  template <typename Use>
  void tell_all(const Fact& fact, bool wants_port, const Use& use) const {
    if (fact.is_of_request())
      tell(subject_, fact, wants_port, use);
    else
      peer_.tell(fact, use);
  }

  [[nodiscard]] bool holds(const Requirement& requirement) const {
    Dimension dimension(requirement.fact, 1);
    dimension.add(requirement, 0);
    dimension.finish();
    std::array<Word, 1> words{1};
    std::array<Word, 1> room{};
    dimension.narrow(words, room, [&](const auto& use) { tell_all(requirement.fact, dimension.wants_port(), use); });
    return has_bit(words, 0);
  }

  void check(const Requirement& requirement, std::vector<std::string>& misses) const {
    auto wanted = requirement;
    wanted.match.not_values.clear();
    auto unwanted = requirement;
    unwanted.match.values.clear();
    const auto& fact = requirement.fact;
    if (!holds(wanted)) {
      misses.push_back(requirement.name + ": " + actual(fact) + " is not " + joined(fact, wanted.match.values));
    }
    if (!holds(unwanted)) {
      misses.push_back(requirement.name + ": " + actual(fact) + " is excluded by " +
                       joined(fact, unwanted.match.not_values));
    }
  }

  [[nodiscard]] std::string actual(const Fact& fact) const {
    std::string out;
    tell_all(fact, false, [&](std::string_view value, bool) { out += (out.empty() ? "" : ", ") + shown(fact, value); });
    if (fact.kind == Kind::kHost && !out.empty()) return subject_.request.authority;
    return out.empty() ? "nothing" : out;
  }

  PeerFacts peer_;
  const Subject& subject_;
};

}  // namespace

std::vector<Explanation> Authorizer::explain(const Peer& peer, const Subject& subject) const {
  std::vector<Explanation> out;
  if (rules_->is_closed()) return out;
  const Explainer explainer(peer, subject);
  const auto verdict = decide(know(peer), subject);
  bool is_decided = false;
  for (const auto& read : Rules::read(rules_->set())) {
    auto& one = out.emplace_back(explainer.explain(read));
    const bool allows =
        verdict.kind == Verdict::Kind::kAllow && Rules::effect_of(*read.clause.policy) == Effect::kAllow;
    one.decides = !is_decided && one.matches && (allows || read.clause.name() == verdict.decided_by);
    is_decided |= one.decides;
  }
  return out;
}

}  // namespace underpass::authz
