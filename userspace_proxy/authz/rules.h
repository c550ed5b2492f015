// SPDX-License-Identifier: Apache-2.0
// The policies as clauses. A clause is a rule with one of its sources (or none) and one of its operations (or none):
// all that it asks for must hold. Clauses are bits, in the order in which they count; a dimension says which clauses a
// fact satisfies, and what is satisfied in all dimensions matches.
#pragma once

#include <array>
#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "underpass/routing_table.h"
#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/authz/clause_bits.h"
#include "userspace_proxy/authz/dimension.h"

namespace underpass::authz {

// What a clause does where it matches, in the order in which they count.
enum class Effect { kAsk, kDeny, kAllow, kDryRunDeny, kDryRunAllow, kAudit };
inline constexpr std::size_t kEffects = 6;

// Enough for some thousands of clauses without allocation.
using ClauseWords = boost::container::small_vector<Word, 128>;

class Rules {
 public:
  struct Clause {
    const model::AuthorizationPolicy* policy;
    std::size_t rule;
    int source;     // index in the rule's `from`; -1: it has none
    int operation;  // index in the rule's `to`; -1: it has none

    [[nodiscard]] std::string name() const;  // "shop/allow-web rule 0"
  };
  // A clause and what it asks for.
  struct Read {
    Clause clause;
    Demand demand;
    bool tcp;   // it can match what is no HTTP
    bool http;  // its rule asks for HTTP, with this source: the kernel's programs know nothing of it

    // Not if it allows or audits, and something of it cannot be told.
    [[nodiscard]] bool is_in_force() const;
  };
  // In the order in which they count.
  static std::vector<Read> read(const HttpPolicySet& set);

  explicit Rules(const HttpPolicySet& set);

  [[nodiscard]] const HttpPolicySet& set() const { return set_; }
  [[nodiscard]] std::string name_of(std::size_t clause) const { return clauses_[clause].name(); }
  static Effect effect_of(const model::AuthorizationPolicy& policy);

  // The clauses that connection and request do not speak against.
  [[nodiscard]] std::vector<Word> match_peer(const Peer& peer) const;
  [[nodiscard]] ClauseWords match_request(ConstWords known, const Subject& subject) const;
  [[nodiscard]] ClauseWords match_tcp(ConstWords known) const;

  // Of those that the connection does not speak against: no DENY that asks for nothing more, and some ALLOW if there
  // are any.
  [[nodiscard]] bool may_pass(ConstWords known) const;
  // What follows from the clauses that match. With `ask` of CUSTOM ones that their provider is asked, else nothing.
  [[nodiscard]] Verdict judge(ConstWords matched, bool ask) const;
  [[nodiscard]] bool is_closed() const { return !set_.closed_by.empty(); }
  [[nodiscard]] Verdict closed() const;
  // The first that matches of those with this effect; kNone.
  [[nodiscard]] std::size_t first(ConstWords matched, Effect effect) const;

 private:
  void index(const std::vector<Read>& all);
  Dimension& dimension_of(const Fact& fact, std::size_t clause);

  [[nodiscard]] std::size_t begin_of(Effect effect) const;
  [[nodiscard]] std::size_t end_of(Effect effect) const { return ends_.at(static_cast<std::size_t>(effect)); }
  void notice(ConstWords matched, Verdict& out) const;
  [[nodiscard]] std::vector<std::string> names_of(ConstWords matched, Effect effect) const;
  [[nodiscard]] Verdict ask(ConstWords matched, std::size_t clause) const;

  const HttpPolicySet& set_;
  std::vector<Clause> clauses_;
  std::array<std::size_t, kEffects> ends_{};  // of each effect's clauses
  bool has_allow_ = false;                    // policies, with or without clauses
  bool has_dry_run_allow_ = false;
  bool tells_dry_run_allow_ = false;  // one of the latter asks for HTTP
  std::vector<Word> tcp_;             // those that can match what is no HTTP
  std::vector<Word> http_;            // those that ask for HTTP
  std::vector<Dimension> of_peer_;
  std::vector<Dimension> of_request_;  // in the order of Fact::Kind
};

}  // namespace underpass::authz
