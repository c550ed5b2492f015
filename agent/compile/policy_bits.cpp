// SPDX-License-Identifier: Apache-2.0
// Clauses to bits, one dimension after the other. Each costs what the clauses mention, not what there is times what
// there is: ten thousand blocks in one policy are walked once.
#include "agent/compile/policy_bits.h"

#include <algorithm>
#include <array>
#include <utility>

#include "agent/compile/ip_blocks.h"

namespace underpass::compile {
namespace {

using model::IpBlock;
using model::StringMatch;

// Who
// ------------------------------------------------------------------------------------------------------------------

bool matches_one(const std::vector<StringMatch>& list, const std::string& text) {
  return std::ranges::any_of(list, [&](const StringMatch& one) { return one.matches(text); });
}

bool holds(const model::Match<StringMatch>& match, const std::string& text) {
  return (match.values.empty() || matches_one(match.values, text)) && !matches_one(match.not_values, text);
}

// The texts that an account is matched by, by Attribute.
using Texts = std::array<std::string, 4>;

Texts texts_of(const NamespacedName& account, const std::string& trust_domain) {
  return {trust_domain + "/ns/" + account.ns + "/sa/" + account.name, account.ns, account.to_string(), trust_domain};
}

bool matches_account(const Clause& clause, const Texts& texts) {
  return clause.of_accounts && std::ranges::all_of(clause.identity, [&](const IdentityTest& test) {
           return holds(*test.match, texts.at(static_cast<std::size_t>(test.attribute)));
         });
}

// Who has no account has nothing that a value could match.
bool matches_nobody(const Clause& clause) {
  return std::ranges::all_of(clause.identity, [](const IdentityTest& test) { return test.match->values.empty(); });
}

bool matches_unknown_account(const Clause& clause, const std::string& trust_domain) {
  if (!clause.of_accounts) return false;
  const bool denies = clause.origin.effect == Effect::kDeny || clause.origin.effect == Effect::kDryRunDeny;
  if (!denies) return clause.identity.empty();
  // Said of more than can be, where several tests exclude each other: that denies until the account is known.
  return std::ranges::all_of(clause.identity, [&](const IdentityTest& test) {
    if (test.attribute == Attribute::kTrustDomain) return holds(*test.match, trust_domain);
    return std::ranges::find(test.match->not_values, StringMatch::Kind::kPresent, &StringMatch::kind) ==
           test.match->not_values.end();
  });
}

void compile_identities(const std::vector<Clause>& clauses, const model::MeshConfig& mesh,
                        const std::vector<NamespacedName>& accounts, PolicySet& out) {
  auto& unauthenticated = out.identities[{.kind = Identity::Kind::kUnauthenticated, .account = {}}];
  auto& host = out.identities[{.kind = Identity::Kind::kHost, .account = {}}];
  for (std::size_t i = 0; i < clauses.size(); ++i) {
    const auto& clause = clauses[i];
    const bool nobody = matches_nobody(clause);
    unauthenticated[i] = clause.of_unauthenticated && nobody;
    host[i] = clause.of_host && nobody;
    out.unknown_identity[i] = matches_unknown_account(clause, mesh.trust_domain);
  }
  for (const auto& account : accounts) {
    const auto [entry, is_new] = out.identities.try_emplace({.kind = Identity::Kind::kAccount, .account = account});
    if (!is_new) continue;
    const auto texts = texts_of(account, mesh.trust_domain);
    for (std::size_t i = 0; i < clauses.size(); ++i) entry->second[i] = matches_account(clauses[i], texts);
  }
}

// From and to where
// ----------------------------------------------------------------------------------------------------

// Goes through all blocks that are mentioned, the outer before the inner, and keeps the bits of an address for which
// the blocks that it stands in are those that contain the address.
class BlockWalk {
 public:
  using Tests = std::vector<const model::Match<IpBlock>*>;

  BlockWalk(const std::vector<Clause>& clauses, Tests Clause::* tests_of) : failing_(clauses.size()) {
    mentions_[whole_family(false)];
    mentions_[whole_family(true)];
    for (std::size_t clause = 0; clause < clauses.size(); ++clause) {
      for (const auto* match : clauses[clause].*tests_of) add_test(clause, *match);
      bits_[clause] = failing_[clause] == 0;
    }
  }

  std::map<IpBlock, ClauseBits> walk() {
    std::map<IpBlock, ClauseBits> out;
    for (const bool v4 : {false, true}) {
      std::vector<decltype(mentions_)::const_iterator> inside;
      for (auto entry = mentions_.cbegin(); entry != mentions_.cend(); ++entry) {
        if (is_v4(entry->first) != v4) continue;
        while (!inside.empty() && !contains(inside.back()->first, entry->first)) {
          leave(inside.back()->second);
          inside.pop_back();
        }
        enter(entry->second);
        inside.push_back(entry);
        out.emplace(entry->first, bits_);
      }
      for (const auto& entry : inside) leave(entry->second);
    }
    return out;
  }

 private:
  struct Test {
    std::size_t clause = 0;
    bool any_value = false;  // none is asked for
    int values = 0;          // that contain the address
    int not_values = 0;
    [[nodiscard]] bool holds() const { return (any_value || values > 0) && not_values == 0; }
  };
  struct Mention {
    std::size_t test = 0;
    bool not_value = false;
  };
  using Mentions = std::vector<Mention>;

  void add_test(std::size_t clause, const model::Match<IpBlock>& match) {
    const auto index = tests_.size();
    tests_.push_back({.clause = clause, .any_value = match.values.empty()});
    for (const auto& block : match.values) mentions_[block].push_back({index, false});
    for (const auto& block : match.not_values) mentions_[block].push_back({index, true});
    failing_[clause] += tests_.back().holds() ? 0 : 1;
  }

  void enter(const Mentions& mentions) { count(mentions, 1); }
  void leave(const Mentions& mentions) { count(mentions, -1); }
  void count(const Mentions& mentions, int by) {
    for (const auto& mention : mentions) {
      auto& test = tests_[mention.test];
      const bool held = test.holds();
      (mention.not_value ? test.not_values : test.values) += by;
      if (test.holds() == held) continue;
      failing_[test.clause] += held ? 1 : -1;
      bits_[test.clause] = failing_[test.clause] == 0;
    }
  }

  std::map<IpBlock, Mentions> mentions_;  // an outer block sorts before what is in it
  std::vector<Test> tests_;
  std::vector<int> failing_;  // tests, by clause
  ClauseBits bits_;
};

// To which port
// --------------------------------------------------------------------------------------------------------

void compile_ports(const std::vector<Clause>& clauses, PolicySet& out) {
  for (std::size_t i = 0; i < clauses.size(); ++i) out.other_ports[i] = clauses[i].ports.has_others();
  for (std::size_t i = 0; i < clauses.size(); ++i) {
    for (const auto port : clauses[i].ports.listed()) {
      out.ports.try_emplace(port, out.other_ports).first->second.flip(i);
    }
  }
}

}  // namespace

PolicySet compile_clauses(const std::vector<Clause>& clauses, const model::MeshConfig& mesh,
                          const std::vector<NamespacedName>& accounts) {
  PolicySet out;
  out.clauses.reserve(clauses.size());
  for (const auto& clause : clauses) out.clauses.push_back(clause.origin);
  compile_identities(clauses, mesh, accounts, out);
  out.blocks = BlockWalk(clauses, &Clause::client_ip).walk();
  out.destinations = BlockWalk(clauses, &Clause::server_ip).walk();
  compile_ports(clauses, out);
  return out;
}

}  // namespace underpass::compile
