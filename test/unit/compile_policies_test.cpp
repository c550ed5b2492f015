// SPDX-License-Identifier: Apache-2.0
// What each field of an AuthorizationPolicy asks of a connection, and which policy decides.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "agent/compile/policies.h"
#include "test/unit/policy_world.h"

namespace underpass::compile {
namespace {

TEST_CASE("policies: without any, everything connects") {
  World world;
  CHECK(world.allowed() == kAll);
  CHECK(world.verdict("front") == Verdict{});
  CHECK(to_text(world.set()) ==
        "default allow\n"
        "client unauthenticated: none\n"
        "client host: none\n"
        "client other/batch: none\n"
        "client shop/front: none\n"
        "client shop/web: none\n"
        "client unknown: none\n"
        "from ::/0: none\n"
        "from 0.0.0.0/0: none\n"
        "to ::/0: none\n"
        "to 0.0.0.0/0: none\n"
        "port other: none\n");
}

TEST_CASE("policies: the client's identity, by field and by condition") {
  struct Row {
    std::string field;
    test::Texts values;
    test::Texts not_values;
    std::string matches;
  };
  const std::vector<Row> rows{
      {"principals", {"cluster.local/ns/shop/sa/front"}, {}, "front"},
      {"principals", {"other.domain/ns/shop/sa/front"}, {}, "none"},
      {"principals", {"spiffe://cluster.local/ns/shop/sa/front"}, {}, "none"},
      {"principals", {"cluster.local/ns/shop/*"}, {}, "front six"},
      {"principals", {"cluster.local/ns/sho*"}, {}, "front six"},
      {"principals", {"*/sa/batch"}, {}, "batch"},
      {"principals", {"*/ns/shop/sa/web"}, {}, "six"},
      {"principals", {"*"}, {}, "batch front six"},
      {"principals", {"nothing", "*/sa/web", "*/sa/front"}, {}, "front six"},
      {"principals", {}, {"cluster.local/ns/shop/sa/front"}, "batch host nobody six"},
      {"principals", {}, {"*"}, "host nobody"},
      {"principals", {"*"}, {"*/sa/web"}, "batch front"},
      {"principals", {"cluster.local/ns/shop/sa/front"}, {"cluster.local/ns/shop/sa/front"}, "none"},
      {"namespaces", {"shop"}, {}, "front six"},
      {"namespaces", {"sho"}, {}, "none"},
      {"namespaces", {"sho*"}, {}, "front six"},
      {"namespaces", {"hop*"}, {}, "none"},
      {"namespaces", {"*sho"}, {}, "none"},
      {"namespaces", {"shop-and-more*"}, {}, "none"},
      {"namespaces", {"*her"}, {}, "batch"},
      {"namespaces", {"*"}, {}, "batch front six"},
      {"namespaces", {}, {"shop"}, "batch host nobody"},
      {"namespaces", {}, {"shop", "other"}, "host nobody"},
      {"namespaces", {"*"}, {"s*"}, "batch"},
      {"serviceAccounts", {"shop/web"}, {}, "six"},
      {"serviceAccounts", {"web"}, {}, "none"},
      {"serviceAccounts", {"shop/front", "other/batch"}, {}, "batch front"},
      {"serviceAccounts", {"*"}, {}, "batch front six"},
      {"serviceAccounts", {}, {"shop/web"}, "batch front host nobody"},
      {"trustDomains", {"cluster.local"}, {}, "batch front six"},
      {"trustDomains", {"cluster.*"}, {}, "batch front six"},
      {"trustDomains", {"*.local"}, {}, "batch front six"},
      {"trustDomains", {"*"}, {}, "batch front six"},
      {"trustDomains", {"example.org"}, {}, "none"},
      {"trustDomains", {}, {"cluster.local"}, "host nobody"},
      {"trustDomains", {}, {"example.org"}, kAll},
  };
  for (const auto& row : rows) {
    CAPTURE(row.field);
    CAPTURE(row.values);
    CAPTURE(row.not_values);
    const auto match = strings(row.values, row.not_values);
    CHECK(matched_by(from(source(row.field, match))) == row.matches);
    if (row.field == "principals") CHECK(matched_by(when(when_strings(Key::kSourcePrincipal, match))) == row.matches);
    if (row.field == "namespaces") CHECK(matched_by(when(when_strings(Key::kSourceNamespace, match))) == row.matches);
  }
}

TEST_CASE("policies: the trust domain is the mesh's") {
  World world;
  world.input.mesh.trust_domain = "example.org";
  world.add(Action::kAllow, {from(source("principals", strings({"example.org/ns/shop/sa/front"})))});
  CHECK(world.allowed() == "front");
}

TEST_CASE("policies: addresses, by field and by condition") {
  struct Row {
    test::Texts values;
    test::Texts not_values;
    std::string matches;
  };
  const std::vector<Row> rows{
      {{"10.0.0.8"}, {}, "front"},
      {{"10.0.0.8/32"}, {}, "front"},
      {{"10.0.0.0/24"}, {}, "front host"},
      {{"10.0.0.0/8"}, {}, "batch front host"},
      {{"0.0.0.0/0"}, {}, "batch front host nobody"},
      {{"::/0"}, {}, "six"},
      {{"::/1"}, {}, "none"},
      {{"fd00::/16"}, {}, "six"},
      {{"fd00::9"}, {}, "six"},
      {{"fd00::8/127"}, {}, "six"},
      {{"fd00::8/128"}, {}, "none"},
      {{"::/0", "192.0.2.0/24"}, {}, "nobody six"},
      {{}, {"10.0.0.0/8"}, "nobody six"},
      {{}, {"::/0"}, "batch front host nobody"},
      {{}, {"0.0.0.0/0"}, "six"},
      {{}, {"10.0.0.8", "fd00::9"}, "batch host nobody"},
      {{"10.0.0.0/8"}, {"10.0.0.0/24"}, "batch"},
      {{"10.0.0.0/24"}, {"10.0.0.0/8"}, "none"},
      {{"10.0.0.0/8", "10.0.0.0/24"}, {"10.0.0.1", "10.0.0.1/32"}, "batch front"},
      {{"10.0.0.8"}, {"10.0.0.8"}, "none"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.values);
    CAPTURE(row.not_values);
    const auto match = blocks(row.values, row.not_values);
    PolicySource remote;
    remote.remote_ip_blocks = match;
    CHECK(matched_by(from(source(match))) == row.matches);
    CHECK(matched_by(from(remote)) == row.matches);
    CHECK(matched_by(when(when_blocks(Key::kSourceIp, match))) == row.matches);
    CHECK(matched_by(when(when_blocks(Key::kRemoteIp, match))) == row.matches);
  }
}

TEST_CASE("policies: blocks inherit from those around them") {
  World world;
  world.add(Action::kDeny, {from(source(blocks({"10.0.0.0/8"}, {"10.0.0.0/16"}))),
                            from(source(blocks({"10.0.0.0/24"}))), from(source(blocks({"::/0"}, {"fd00::/16"})))});
  world.add(Action::kAllow, {kAnything});
  CHECK(to_text(world.set()) ==
        "default deny: shop/policy\n"
        "clause 0 deny AuthorizationPolicy shop/policy rules[0].from[0]\n"
        "clause 1 deny AuthorizationPolicy shop/policy rules[1].from[0]\n"
        "clause 2 deny AuthorizationPolicy shop/policy rules[2].from[0]\n"
        "clause 3 allow AuthorizationPolicy shop/policy rules[0]\n"
        "client unauthenticated: 0-3\n"
        "client host: 0-3\n"
        "client other/batch: 0-3\n"
        "client shop/front: 0-3\n"
        "client shop/web: 0-3\n"
        "client unknown: 0-3\n"
        "from ::/0: 2-3\n"
        "from 0.0.0.0/0: 3\n"
        "from 10.0.0.0/8: 0 3\n"
        "from 10.0.0.0/16: 3\n"
        "from 10.0.0.0/24: 1 3\n"
        "from fd00::/16: 3\n"
        "to ::/0: 0-3\n"
        "to 0.0.0.0/0: 0-3\n"
        "port other: 0-3\n");
}

TEST_CASE("policies: ports, by operation and by condition") {
  struct Row {
    std::vector<std::uint16_t> values;
    std::vector<std::uint16_t> not_values;
    std::string matches;
  };
  const std::vector<Row> rows{
      {{8080}, {}, "8080"},         {{8080, 9090}, {}, "8080 9090"},      {{443}, {}, "none"},
      {{}, {8080}, "80 8081 9090"}, {{}, {80, 8080, 8081, 9090}, "none"}, {{80, 8080}, {8080}, "80"},
      {{80}, {80}, "none"},         {{}, {}, "80 8080 8081 9090"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.values);
    CAPTURE(row.not_values);
    for (const bool by_condition : {false, true}) {
      World world;
      const model::Match<std::uint16_t> match{.values = row.values, .not_values = row.not_values};
      world.add(Action::kAllow, {by_condition ? when(when_ports(match)) : to(ports(row.values, row.not_values))});
      CHECK(world.open_ports("front") == row.matches);
      world.input.policies.clear();
      world.add(Action::kDeny, {by_condition ? when(when_ports(match)) : to(ports(row.values, row.not_values))});
      world.add(Action::kDeny, {}, {"shop", "empty"});
      auto attempt = world.clients.at("front");
      attempt.server_port = 65535;
      CHECK(world.verdict(attempt).allowed != (row.values.empty()));
    }
  }
}

TEST_CASE("policies: one of the operations, and all conditions") {
  World world;
  auto& rule = world.add(Action::kAllow, {to(ports({80}))}).rules[0];
  rule.to.push_back(ports({8080, 8081}));
  CHECK(world.open_ports("front") == "80 8080 8081");
  rule.to.push_back(ports({}, {80, 8080}));
  CHECK(world.open_ports("front") == "80 8080 8081 9090");
  rule.to.push_back(ports({}, {80, 9090}));
  rule.when = {when_ports({.values = {80, 8080, 9090}, .not_values = {}}),
               when_ports({.values = {}, .not_values = {80}})};
  CHECK(world.open_ports("front") == "8080 9090");
  rule.when.push_back(when_strings(Key::kSourceNamespace, strings({"other"})));
  CHECK(world.open_ports("front") == "none");
  CHECK(world.open_ports("batch") == "8080 9090");
  CHECK(world.set().clauses.size() == 1);
}

TEST_CASE("policies: destination.ip, of a pod with two addresses") {
  CHECK(matched_by(when(when_blocks(Key::kDestinationIp, blocks({"10.0.0.7"})))) == "batch front host nobody");
  CHECK(matched_by(when(when_blocks(Key::kDestinationIp, blocks({"fd00::/8"})))) == "six");
  CHECK(matched_by(when(when_blocks(Key::kDestinationIp, blocks({}, {"10.0.0.0/8"})))) == "six");
  CHECK(matched_by(when(when_blocks(Key::kDestinationIp, blocks({"::/0", "10.0.0.7"})))) == kAll);
  CHECK(matched_by(when(when_blocks(Key::kDestinationIp, blocks({"10.0.0.8"})))) == "none");

  // Of one clause, with everything else.
  PolicyRule rule = from(source(blocks({"10.0.0.0/24"})));
  rule.to = {ports({8080})};
  rule.when = {when_blocks(Key::kDestinationIp, blocks({"10.0.0.7"})),
               when_strings(Key::kSourcePrincipal, strings({"*"}))};
  CHECK(matched_by(rule) == "front");
}

TEST_CASE("policies: pods with other addresses and the same policies share a set") {
  World world;
  world.target.probe_ports = {8081};
  world.target.excluded_ports = {9090};
  world.add(Action::kAllow, {when(when_blocks(Key::kDestinationIp, blocks({"10.0.0.7"})))});
  const auto before = world.set();
  world.target.pod.name = "web-2";
  world.target.ips = {ip("10.0.0.17")};
  CHECK(world.set() == before);
}

TEST_CASE("policies: fields of a source must hold together, sources and rules one of them") {
  auto one = source("namespaces", strings({"shop"}));
  one.ip_blocks = blocks({"10.0.0.0/8"});
  CHECK(matched_by(from(one)) == "front");
  one.service_accounts = strings({}, {"shop/front"});
  CHECK(matched_by(from(one)) == "none");

  PolicyRule rule = from(one);
  rule.from.push_back(source("namespaces", strings({"other"})));
  rule.from.push_back(source(blocks({"192.0.2.0/24"})));
  CHECK(matched_by(rule) == "batch nobody");
  rule.to = {ports({80})};
  CHECK(matched_by(rule) == "none");
  rule.to.push_back(ports({}, {80}));
  CHECK(matched_by(rule) == "batch nobody");
  rule.when = {when_blocks(Key::kSourceIp, blocks({"10.0.0.0/8"}))};
  CHECK(matched_by(rule) == "batch");

  World world;
  world.add(Action::kAllow, {from(source("namespaces", strings({"other"}))), from(source(blocks({"::/0"})))});
  CHECK(world.allowed() == "batch six");
  CHECK(world.verdict("six").decided_by == 1);
  CHECK(world.set().clauses[1].rule == 1);
}

TEST_CASE("policies: no rules match nothing, an empty rule everything") {
  CHECK(matched_by(kAnything) == kAll);
  World world;
  world.add(Action::kDeny, {});
  CHECK(world.allowed() == kAll);
  world.add(Action::kAllow, {}, {"shop", "nothing"});
  CHECK(world.allowed() == "none");
  CHECK(world.verdict("front") == Verdict{.allowed = false, .default_deny = true});
  world.add(Action::kAllow, {kAnything}, {"shop", "everything"});
  CHECK(world.allowed() == kAll);
  world.add(Action::kDeny, {kAnything}, {"shop", "no-one"});
  CHECK(world.allowed() == "none");
}

TEST_CASE("policies: DENY before ALLOW, and which clause decided") {
  World world;
  world.add(Action::kAllow, {from(source("namespaces", strings({"other"}))), kAnything}, {"shop", "b"});
  world.add(Action::kAllow, {from(source("namespaces", strings({"shop"})))}, {"shop", "a"});
  world.add(Action::kDeny, {from(source("namespaces", strings({"none"}))), from(source(blocks({"192.0.2.0/24"})))},
            {"shop", "c"});
  CHECK(world.allowed() == "batch front host six");
  const auto clauses = world.set().clauses;
  const auto decided_by = [&](const std::string& client) {
    const auto& origin = clauses.at(static_cast<std::size_t>(world.verdict(client).decided_by));
    return origin.id.name + std::to_string(origin.rule);
  };
  CHECK(decided_by("nobody") == "c1");
  CHECK(decided_by("front") == "a0");
  CHECK(decided_by("batch") == "b0");
  CHECK(decided_by("host") == "b1");
}

}  // namespace
}  // namespace underpass::compile
