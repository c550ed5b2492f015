// SPDX-License-Identifier: Apache-2.0
// How verdicts are told: the policy, and which of its rules.
#include "agent/compile/policy_words.h"

#include <doctest/doctest.h>

#include "test/unit/policy_world.h"
#include "underpass/abi.h"

namespace underpass::compile {
namespace {

TEST_CASE("policy words: who denied") {
  World world;
  world.add(Action::kDeny, {to(ports({9090})), from(source("namespaces", strings({"other"})))});
  world.add(MtlsMode::kStrict, {"shop", "default"});
  const auto set = world.set();
  CHECK(denier_of(set, 0).to_text() == "PeerAuthentication shop/default STRICT");
  CHECK(denier_of(set, 1) == Denier{"AuthorizationPolicy shop/policy", "rules[0]"});
  CHECK(denier_of(set, 2).to_text() == "AuthorizationPolicy shop/policy rules[1].from[0]");
}

TEST_CASE("policy words: STRICT of a port, and what a Pod asks for") {
  World world;
  world.target.probe_ports = {80};
  world.target.excluded_ports = {81};
  world.add(MtlsMode::kUnset, {"shop", "web"}, {{"app", "web"}}).port_modes = {{8080, MtlsMode::kStrict}};
  const auto set = world.set();
  CHECK(describe(set.clauses.at(0)) == "Pod probes");
  CHECK(describe(set.clauses.at(1)) == "Pod excluded ports");
  CHECK(describe(set.clauses.at(2)) == "PeerAuthentication shop/web STRICT at the port");
}

TEST_CASE("policy words: none allowed it") {
  World world;
  world.add(Action::kAllow, {from(source("namespaces", strings({"other"})))});
  world.add(Action::kAllow, {}, {"shop", "nothing"});
  world.add(Action::kAllow, {}, {"shop", "dry"}).dry_run = true;
  CHECK(denier_of(world.set(), UP_NO_CLAUSE) == Denier{"no ALLOW policy matched: shop/nothing, shop/policy", ""});
  world.input.unread = {{"AuthorizationPolicy", {"shop", "bad"}}};
  CHECK(denier_of(world.set(), UP_NO_CLAUSE).to_text() == "closed: AuthorizationPolicy shop/bad was never understood");
}

TEST_CASE("policy words: many names") {
  std::vector<NamespacedName> names(8, {"a", "b"});
  CHECK(join(names).ends_with("a/b, a/b"));
  names.resize(11, {"c", "d"});
  CHECK(join(names).ends_with("a/b, a/b and 3 more"));
  CHECK(join({}).empty());
}

}  // namespace
}  // namespace underpass::compile
