// SPDX-License-Identifier: Apache-2.0
// The compiled bits give the verdict that the objects give, whatever the objects, the workload and the connection.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "agent/compile/http_policies.h"
#include "agent/compile/policies.h"
#include "test/support/policy_dice.h"
#include "test/support/policy_values.h"
#include "test/support/share.h"

namespace underpass::compile {
namespace {

using model::AuthorizationPolicy;
using model::PolicyCondition;
using model::PolicySource;
using test::Dice;

constexpr int kWorlds = 6000 / test::kShare;
constexpr int kAttempts = 25;  // of each world

std::string outcome_of(const PolicySet& set, const Verdict& verdict) {
  if (set.closed && verdict.decided_by < 0) return "closed";
  if (verdict.default_deny) return "default deny";
  if (verdict.decided_by < 0) return "no policy";
  const auto& origin = set.clauses.at(static_cast<std::size_t>(verdict.decided_by));
  if (origin.effect == Effect::kBypass) return "bypass";
  if (origin.kind == "PeerAuthentication") return "STRICT";
  return origin.effect == Effect::kDeny ? "DENY" : "ALLOW";
}

TEST_CASE("policies: the bits say what the objects say") {
  const auto seed = test::draw_seed();
  MESSAGE("UNDERPASS_SEED=", seed);
  Dice dice(seed);
  int compared = 0;
  int unknown = 0;
  std::map<std::string, int> outcomes;
  std::map<std::string, int> seen;
  for (int world = 0; world < kWorlds; ++world) {
    const auto input = test::draw_policies(dice);
    const auto target = test::draw_target(dice);
    const auto set = compile_policy_set(input, target);
    for (int i = 0; i < kAttempts; ++i) {
      const auto attempt = test::draw_attempt(dice);
      const auto compiled = decide(set, attempt);
      const auto plain = evaluate_plainly(input, target, attempt);
      if (attempt.client.kind == Identity::Kind::kAccount && !set.identities.contains(attempt.client)) {
        // As if closed for ALLOW and matching for DENY: never wider, and dry runs never quieter.
        ++unknown;
        const bool never_wider = (plain.allowed || !compiled.allowed) &&
                                 (compiled.would_default_deny || !plain.would_default_deny) &&
                                 compiled.would_deny.size() >= plain.would_deny.size();
        CAPTURE(world);
        CAPTURE(to_text(set));
        REQUIRE(never_wider);
        continue;
      }
      ++compared;
      ++outcomes[outcome_of(set, compiled)];
      seen["allowed"] += compiled.allowed ? 1 : 0;
      seen["refused"] += compiled.allowed ? 0 : 1;
      seen["would deny"] += compiled.would_deny.empty() ? 0 : 1;
      seen["would default deny"] += compiled.would_default_deny ? 1 : 0;
      seen["audited"] += compiled.audited.empty() ? 0 : 1;
      if (compiled == plain) continue;
      FAIL("world ", world, ", attempt ", i, " from ", attempt.client_ip.to_string(), " to ",
           attempt.server_ip.to_string(), " port ", attempt.server_port, " as ", static_cast<int>(attempt.client.kind),
           " ", attempt.client.account.to_string(), ": compiled decided by ", compiled.decided_by, ", plainly by ",
           plain.decided_by, "\n", to_text(set));
    }
  }
  std::string text;
  for (const auto* counts : {&outcomes, &seen})
    for (const auto& [name, count] : *counts) text += name + " " + std::to_string(count * 100 / compared) + " %, ";
  MESSAGE(compared, " compared: ", text, "and ", unknown, " of an unknown account");
  CHECK(compared >= 100'000 / test::kShare);
  const int few = compared / 20;  // what workers decide is no part of it
  for (const auto& name : {"bypass", "STRICT", "DENY", "ALLOW", "default deny", "no policy"}) {
    CAPTURE(name);
    CHECK(outcomes[name] >= few);
  }
  CHECK(outcomes["closed"] >= compared / 50);
  for (const auto& [name, count] : seen) {
    CAPTURE(name);
    CHECK(count >= few);
  }
}

// Networks deep inside each other, drawn from few bits, so that values and not-values of several clauses cover each
// other in every way.
TEST_CASE("policies: nested networks say what the objects say") {
  const auto seed = test::draw_seed();
  MESSAGE("UNDERPASS_SEED=", seed);
  Dice dice(seed);
  const auto draw_ip = [&](bool v4) {
    const auto low = std::to_string(dice.below(16));
    return v4 ? "10.0.0." + low : "fd00::" + low;
  };
  const auto draw_block = [&] {
    const bool v4 = dice.one_in(2);
    if (dice.one_in(12)) return test::ip_block(v4 ? "0.0.0.0/0" : "::/0");
    auto block = test::ip_block(draw_ip(v4));
    block.prefix = static_cast<std::uint8_t>(128 - dice.below(5));
    auto bytes = block.base.to_abi();
    bytes.bytes[15] &= static_cast<std::uint8_t>(0xff << (128 - block.prefix));
    block.base = IpAddress(bytes);
    return block;
  };
  int matches = 0;
  int compared = 0;
  for (int world = 0; world < 1000 / test::kShare; ++world) {
    PolicyInput input;
    auto policy = std::make_shared<AuthorizationPolicy>();
    policy->id = {"shop", "policy"};
    policy->action = AuthorizationPolicy::Action::kAudit;
    for (int rule = 0; rule < 4; ++rule) {
      PolicySource source;
      for (int left = dice.below(5); left > 0; --left) source.ip_blocks.values.push_back(draw_block());
      for (int left = dice.below(4); left > 0; --left) source.ip_blocks.not_values.push_back(draw_block());
      PolicyCondition condition;
      condition.key = PolicyCondition::Key::kDestinationIp;
      for (int left = dice.below(4); left > 0; --left) condition.blocks.values.push_back(draw_block());
      policy->rules.push_back({.from = {source}, .to = {}, .when = {condition}});
    }
    input.policies.push_back(policy);
    const PolicyTarget target{
        .pod = {"shop", "web-1"}, .labels = {}, .ips = {}, .probe_ports = {}, .excluded_ports = {}};
    const auto set = compile_policy_set(input, target);
    for (int i = 0; i < 64; ++i) {
      const bool v4 = dice.one_in(2);
      const Attempt attempt{{}, test::ip(draw_ip(v4)), test::ip(draw_ip(v4)), 80};
      const auto compiled = decide(set, attempt);
      REQUIRE(compiled == evaluate_plainly(input, target, attempt));
      ++compared;
      matches += compiled.audited.empty() ? 0 : 1;
    }
  }
  MESSAGE(compared, " compared, of ", matches, " something matched");
  CHECK(matches >= compared / 10);
  CHECK(matches <= compared - compared / 10);
}

}  // namespace
}  // namespace underpass::compile
