// SPDX-License-Identifier: Apache-2.0
// Other owners of the same hooks: the agent works beside them, or leaves the connection to them and says so.
#include <doctest/doctest.h>

#include "test/netns/accounts.h"
#include "test/netns/foreign.h"
#include "test/netns/lifecycle/watch.h"

namespace underpass::test {
namespace {

TEST_CASE("another owner of the sockmap keeps its connections: they work, direct, with that reason") {
  World world;
  ForeignPrograms foreign(world.sandbox.cgroup());
  // First on the cgroup means first on the socket: ours is detached meanwhile.
  REQUIRE(world.ctl.run({"detach"}).exit.ok());
  foreign.attach_sockmap(ForeignPrograms::Redirects::kNone);
  REQUIRE(world.ctl.run({"attach"}).exit.ok());
  for (const char* name : {"a", "b"}) world.wait_enrolled("shop", name);
  const Accounts accounts(world);
  const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(pair.client.get(), pair.server.get());
  const auto row = world.ctl.connection(pair.client.get());
  REQUIRE(row);
  CHECK(row->way == "direct");
  CHECK(row->fallback_reason == "other-sockmap");
  CHECK(accounts.fallbacks(UP_WHY_OTHER_SOCKMAP) > 0);
  const StreamsReport report =
      run_streams({.a = world.at("a"), .b = world.at("b"), .count = 200, .adjust = [](StreamPlan& plan) {
                     if (plan.family == Family::kV6) plan.family = Family::kV4;
                   }});
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(accounts.redirected_bytes() == 0);
  // It takes IPv4 alone.
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b"), AF_INET6) == "short-circuit");
}

TEST_CASE("another owner of the sockmap that comes second gets EBUSY, and ours go on") {
  World world;
  ForeignPrograms foreign(world.sandbox.cgroup());
  foreign.attach_sockmap(ForeignPrograms::Redirects::kAll);
  const Accounts accounts(world);
  const StreamsReport report = run_streams({.a = world.at("a"), .b = world.at("b"), .count = 200});
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(accounts.short_circuited() == report.streams);
}

TEST_CASE("another owner of connect4 is no obstacle, before or after") {
  for (const bool first : {true, false}) {
    CAPTURE(first);
    World world;
    ForeignPrograms foreign(world.sandbox.cgroup());
    if (first) {
      REQUIRE(world.ctl.run({"detach"}).exit.ok());
      foreign.attach_connect4(false);
      REQUIRE(world.ctl.run({"attach"}).exit.ok());
    } else {
      foreign.attach_connect4(false);
    }
    for (const char* name : {"a", "b"}) world.wait_enrolled("shop", name);
    CHECK(programs_at(world.sandbox.cgroup()).size() == 4);
    CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
    // Ours goes, the other stays.
    REQUIRE(world.ctl.run({"detach"}).exit.ok());
    CHECK(eventually(seconds(5), [&] { return programs_at(world.sandbox.cgroup()).size() == 1; }));
  }
}

TEST_CASE("two agents, each with its own ground, do not meet") {
  World one;
  const Pair in_one = make_pair_between(one.at("a"), one.at("b"), AF_INET);
  exchange(in_one.client.get(), in_one.server.get());
  {
    World two;
    CHECK(way_of_new_connection(two, two.at("a"), two.at("b")) == "short-circuit");
    CHECK(one.ctl.connections().size() == 1);
    // Sockets made in the second's cgroup are none of the first's, whatever pod they are in.
    CHECK(way_in_kernel(one, one.at("a"), one.at("b")) == "none");
    exchange(in_one.client.get(), in_one.server.get());
    CHECK(two.ctl.run({"detach"}).exit.ok());
  }
  exchange(in_one.client.get(), in_one.server.get());
  CHECK(one.ctl.connection(in_one.client.get()).value().way == "short-circuit");
  CHECK(way_of_new_connection(one, one.at("a"), one.at("b")) == "short-circuit");
}

}  // namespace
}  // namespace underpass::test
