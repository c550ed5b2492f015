// SPDX-License-Identifier: Apache-2.0
// The kernel's verdict is that of the objects: random policies, workloads and connections, compiled, written into real
// maps, and decided by the program as it is compiled for the kernel.
#include <arpa/inet.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "agent/compile/policies.h"
#include "agent/compile/policy_rows.h"
#include "agent/dataplane/policy_maps.h"
#include "test/bpf/decisions.h"
#include "test/support/policy_dice.h"

namespace underpass::test {
namespace {

constexpr std::uint32_t kNoClause = 0xffffffff;

class Kernel {
 public:
  Kernel()
      : maps_({.policies = bpf_map__fd(decisions_->maps.up_policies),
               .clauses = bpf_map__fd(decisions_->maps.up_clauses),
               .who = bpf_map__fd(decisions_->maps.up_policy_who),
               .port = bpf_map__fd(decisions_->maps.up_policy_port),
               .ip = bpf_map__fd(decisions_->maps.up_policy_ip)}) {}

  void put(std::uint32_t number, const compile::PolicySet& set) {
    rows_ = compile::make_rows(set, numbers_);
    REQUIRE(maps_.put(number, rows_).has_value());
  }
  void remove(std::uint32_t number) { maps_.remove(number, rows_); }

  struct Answer {
    bool allowed = false;
    std::uint32_t clause = kNoClause;
    std::uint32_t would_deny = kNoClause;
    std::uint32_t audited = kNoClause;
    bool would_not_allow = false;
    bool bypassed = false;
  };
  Answer ask(std::uint32_t number, const compile::Attempt& attempt) {
    auto& in = *decisions_->bss;
    in.policy_set = number;
    in.identity = numbers_.number_of(attempt.client);
    in.client.addr = attempt.client_ip.to_abi();
    in.server.addr = attempt.server_ip.to_abi();
    in.server.port = htons(attempt.server_port);
    const bool allowed = decisions_.run(decisions_->progs.policy_decide) == 1;
    return {allowed, in.clause, in.would_deny, in.audited, in.would_not_allow != 0, in.bypassed != 0};
  }
  // Entries of all maps of policy.
  std::size_t entries() {
    std::size_t out = 0;
    for (const auto* map : {decisions_->maps.up_policies, decisions_->maps.up_clauses, decisions_->maps.up_policy_who,
                            decisions_->maps.up_policy_port, decisions_->maps.up_policy_ip}) {
      std::array<char, 64> key{};
      const void* at = nullptr;
      while (bpf_map_get_next_key(bpf_map__fd(map), at, key.data()) == 0) {
        ++out;
        at = key.data();
      }
    }
    return out;
  }

 private:
  Decisions decisions_;
  dataplane::PolicyMaps maps_;
  compile::PolicyRows rows_;
  compile::IdentityNumbers numbers_;
};

std::uint32_t first_of(const std::vector<std::size_t>& clauses) {
  return clauses.empty() ? kNoClause : static_cast<std::uint32_t>(clauses.front());
}

TEST_CASE("policy: where no set is in the way all may, where one is missing nobody") {
  Kernel kernel;
  const compile::Attempt attempt{.server_port = 80};
  CHECK(kernel.ask(0, attempt).allowed);
  CHECK_FALSE(kernel.ask(1, attempt).allowed);
  kernel.put(1, compile::compile_policy_set({}, {}));
  CHECK(kernel.ask(1, attempt).allowed);
  kernel.remove(1);
  CHECK_FALSE(kernel.ask(1, attempt).allowed);
  CHECK(kernel.entries() == 0);
}

TEST_CASE("policy: the kernel decides as the objects say") {
  // UNDERPASS_WORLDS: fewer, on an emulated processor.
  const char* fewer = std::getenv("UNDERPASS_WORLDS");
  const int worlds = fewer != nullptr ? std::stoi(fewer) : 4500;
  constexpr int kAttempts = 25;
  const auto seed = draw_seed();
  MESSAGE("UNDERPASS_SEED=", seed);
  Dice dice(seed);
  Kernel kernel;
  int compared = 0;
  int allowed = 0;
  int decided = 0;
  int would_deny = 0;
  int would_not_allow = 0;
  int audited = 0;
  for (std::uint32_t world = 1; world <= static_cast<std::uint32_t>(worlds); ++world) {
    const auto input = draw_policies(dice);
    const auto target = draw_target(dice);
    const auto set = compile::compile_policy_set(input, target);
    kernel.put(world, set);
    for (int i = 0; i < kAttempts; ++i) {
      const auto attempt = draw_attempt(dice);
      const auto answer = kernel.ask(world, attempt);
      const bool known = set.identities.contains(attempt.client);
      // Of an account that is not known the compiled verdict is stricter than the objects': compared with that.
      const auto wanted = known ? compile::evaluate_plainly(input, target, attempt) : compile::decide(set, attempt);
      CAPTURE(world);
      CAPTURE(compile::to_text(set));
      REQUIRE(answer.allowed == wanted.allowed);
      const bool by_clause = wanted.allowed && wanted.decided_by >= 0;
      REQUIRE(answer.bypassed == (by_clause && set.clauses.at(static_cast<std::size_t>(wanted.decided_by)).effect ==
                                                   compile::Effect::kBypass));
      REQUIRE(answer.clause == static_cast<std::uint32_t>(wanted.decided_by));
      REQUIRE(answer.would_deny == first_of(wanted.would_deny));
      REQUIRE(answer.audited == first_of(wanted.audited));
      REQUIRE(answer.would_not_allow == wanted.would_default_deny);
      ++compared;
      allowed += answer.allowed ? 1 : 0;
      decided += answer.clause != kNoClause ? 1 : 0;
      would_deny += answer.would_deny != kNoClause ? 1 : 0;
      would_not_allow += answer.would_not_allow ? 1 : 0;
      audited += answer.audited != kNoClause ? 1 : 0;
    }
    kernel.remove(world);
  }
  MESSAGE(compared, " compared: ", allowed, " allowed, ", decided, " by a clause; a dry run would deny ", would_deny,
          " and not allow ", would_not_allow, ", ", audited, " audited");
  CHECK(compared >= (fewer != nullptr ? worlds * kAttempts : 100'000));
  for (const int count : {allowed, compared - allowed, decided, compared - decided}) CHECK(count >= compared / 10);
  for (const int count : {would_deny, would_not_allow, audited}) CHECK(count >= compared / 100);
  CHECK(kernel.entries() == 0);
}

}  // namespace
}  // namespace underpass::test
