// SPDX-License-Identifier: Apache-2.0
// As much as fits, and what it costs.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "agent/compile/policies.h"
#include "test/unit/policy_world.h"

namespace underpass::compile {
namespace {

TEST_CASE("policies: as many clauses as there is room for, and one more") {
  World world;
  auto& policy = world.add(Action::kAllow, {});
  policy.rules.assign(kMaxClauses - 1, to(ports({80})));
  policy.rules.push_back(from(source("namespaces", strings({"shop"}))));
  CHECK(world.set().clauses.size() == kMaxClauses);
  CHECK(world.allowed() == "front six");
  CHECK(world.verdict("front").decided_by == kMaxClauses - 1);
  policy.rules.push_back(kAnything);
  CHECK(world.set().closed);
  CHECK(world.allowed() == "none");
  policy.rules.pop_back();
  world.target.excluded_ports = {80};
  CHECK(world.set().closed);
  CHECK(world.set().clauses.size() == 1);
  CHECK(world.open_ports("front") == "80");
}

// Says how long it took, of three the least.
PolicySet compile_in(std::chrono::seconds limit, const World& world, const std::string& what) {
  using Clock = std::chrono::steady_clock;
  auto least = Clock::duration::max();
  PolicySet out;
  for (int i = 0; i < 3; ++i) {
    const auto start = Clock::now();
    out = compile_policy_set(world.input, world.target);
    least = std::min(least, Clock::now() - start);
  }
  MESSAGE(what, ": ", std::chrono::duration_cast<std::chrono::microseconds>(least).count(), " us");
  CHECK(least < limit);
  return out;
}

constexpr std::chrono::seconds kLimit{
    5};  // some 5 ms are needed, 25 with sanitizers; what grows too fast needs minutes

TEST_CASE("policies: size: 1,000 rules, each with its own account, network and port, for 250 accounts") {
  World world;
  for (int i = 0; i < 250; ++i)
    world.input.accounts.push_back({"ns" + std::to_string(i % 10), "sa" + std::to_string(i)});
  auto& policy = world.add(Action::kAllow, {});
  for (int i = 0; i < 1000; ++i) {
    auto one = source("principals",
                      strings({"cluster.local/ns/ns" + std::to_string(i % 10) + "/sa/sa" + std::to_string(i % 250)}));
    one.ip_blocks = blocks({"10." + std::to_string(i % 250) + "." + std::to_string(i / 250) + ".0/24"});
    policy.rules.push_back(from(one));
    policy.rules.back().to = {ports({static_cast<std::uint16_t>(1000 + i)})};
  }
  const auto set = compile_in(kLimit, world, "1,000 rules");
  CHECK(set.clauses.size() == 1000);
  CHECK(set.blocks.size() == 1002);
  CHECK(set.ports.size() == 1000);
  const Attempt attempt{account("ns7", "sa17"), ip("10.17.3.9"), ip("10.0.0.7"), 1767};
  CHECK(decide(set, attempt).decided_by == 767);
  CHECK(decide(set, attempt) == evaluate_plainly(world.input, world.target, attempt));
}

// Networks of /24, every tenth of which excludes an address of it.
model::Match<model::IpBlock> many_blocks(int count) {
  model::Match<model::IpBlock> out;
  for (int i = 0; i < count; ++i) {
    const auto net =
        std::to_string(10 + i / 65536) + "." + std::to_string(i / 256 % 256) + "." + std::to_string(i % 256);
    out.values.push_back(test::ip_block(net + ".0/24"));
    if (i % 10 == 0) out.not_values.push_back(test::ip_block(net + ".7"));
  }
  return out;
}

TEST_CASE("policies: size: 10,000 ipBlocks in one policy") {
  World world;
  world.add(Action::kDeny, {from(source(many_blocks(10'000)))});
  const auto set = compile_in(kLimit, world, "10,000 ipBlocks in one rule");
  CHECK(set.blocks.size() == 11'002);
  const auto denied = [&](const std::string& client) {
    const Attempt attempt{kNobody, ip(client), ip("10.0.0.7"), 80};
    CHECK(decide(set, attempt) == evaluate_plainly(world.input, world.target, attempt));
    return !decide(set, attempt).allowed;
  };
  CHECK(denied("10.39.15.6"));
  CHECK(denied("10.0.10.8"));
  CHECK_FALSE(denied("10.0.10.7"));
  CHECK_FALSE(denied("10.39.16.1"));
  CHECK_FALSE(denied("9.255.255.255"));
}

TEST_CASE("policies: size: 10,000 ipBlocks in 2,000 rules, and 10,000 inside each other's network") {
  World world;
  const auto all = many_blocks(10'000);
  auto& policy = world.add(Action::kDeny, {});
  for (int i = 0; i < 2000; ++i) {
    PolicySource one = source(blocks({"10.0.0.0/8"}));
    one.ip_blocks.values.assign(all.values.begin() + i * 5, all.values.begin() + i * 5 + 5);
    policy.rules.push_back(from(one));
  }
  const auto set = compile_in(kLimit, world, "10,000 ipBlocks in 2,000 rules");
  const Attempt attempt{kNobody, ip("10.39.15.1"), ip("10.0.0.7"), 80};
  CHECK(decide(set, attempt).decided_by == 1999);

  policy.rules.clear();
  model::Match<model::IpBlock> nested;
  for (int i = 0; i < 10'000; ++i) {
    // 2001:db8::/32 and one bit more each time, for 96 bits, then the next.
    const auto high = std::to_string(i / 96);
    nested.values.push_back(test::ip_block("2001:" + high + "::/" + std::to_string(32 + i % 96)));
  }
  policy.rules.push_back(from(source(nested)));
  CHECK(compile_in(kLimit, world, "10,000 nested ipBlocks").blocks.size() == 10'002);
}

}  // namespace
}  // namespace underpass::compile
