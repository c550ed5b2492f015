// SPDX-License-Identifier: Apache-2.0
// The agent dies and comes back. What is pinned works on: no live connection notices, new ones are short-circuited all
// the time, and the next agent takes over what it finds.
#include <doctest/doctest.h>

#include "test/netns/accounts.h"
#include "test/netns/lifecycle/watch.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

TEST_CASE("the agent is killed under traffic and started again") {
  World world;
  const Accounts accounts(world);
  Traffic traffic({.a = world.at("a"), .b = world.at("b")});
  const Pair live = make_pair_between(world.at("a"), world.at("b"), AF_INET6);
  exchange(live.client.get(), live.server.get());
  const std::string id = world.ctl.connection(live.client.get()).value().id;
  let_run(traffic, 20);
  const std::set<std::uint32_t> maps = world.pinned.map_ids();

  world.agent.kill9();
  CHECK(world.ctl.run({"status"}).exit.code == 3);
  for (const int family : {AF_INET, AF_INET6})
    CHECK(way_in_kernel(world, world.at("a"), world.at("b"), family) == "short-circuit");
  const std::uint64_t redirected = world.redirected();
  exchange(live.client.get(), live.server.get());
  let_run(traffic, 20);
  CHECK(world.redirected() > redirected);
  CHECK(world.ctl.run({"map", "list"}).exit.ok());
  CHECK(world.ctl.run({"map", "dump", "up_conns"}).exit.ok());

  world.agent.start();
  CHECK(world.pinned.map_ids() == maps);
  const auto row = world.ctl.connection(live.client.get());
  REQUIRE(row);
  CHECK(row->id == id);
  CHECK(row->way == "short-circuit");
  exchange(live.client.get(), live.server.get());
  for (const int family : {AF_INET, AF_INET6}) {
    CHECK(way_of_new_connection(world, world.at("a"), world.at("b"), family) == "short-circuit");
  }
  let_run(traffic, 20);
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(accounts.direct() == 0);
  CHECK(eventually(seconds(10), [&] { return world.pinned.budget_used(0) == 0; }));
}

TEST_CASE("the agent is killed at any moment of its start, under traffic") {
  World world;
  const Accounts accounts(world);
  Traffic traffic({.a = world.at("a"), .b = world.at("b"), .lasting = 4, .renewed = 2});
  Random random(9);
  for (int i = 0; i < 20 && !traffic.failed(); ++i) {
    world.agent.launch();  // kills the one before
    (void)eventually(milliseconds(random.below(200)), [&] { return traffic.failed() || !world.agent.running(); });
  }
  world.agent.start();
  for (const char* name : {"a", "b"}) world.wait_enrolled("shop", name);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  INFO(world.agent.log());
  CHECK(report.ok());
  CHECK(accounts.direct() == 0);
  CHECK(programs_at(world.sandbox.cgroup()).size() <= 3);  // one of each kind, however often it was started
}

TEST_CASE("an agent that is stopped leaves working programs, and the next one adopts them") {
  World world;
  const std::set<std::uint32_t> maps = world.pinned.map_ids();
  for (int i = 0; i < 3; ++i) {
    world.agent.stop();
    CHECK(world.pinned.any());
    CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "short-circuit");
    world.agent.start();
    CHECK(world.pinned.map_ids() == maps);
  }
}

TEST_CASE("what changed while the agent was dead counts when it is back") {
  World world;
  world.agent.kill9();
  PodObject pod = world.pod_object("shop", "b");
  pod.settings = {.mesh = "disabled"};
  world.objects.put(pod);
  world.objects.put(NamespaceObject{"late", kAccelerated});
  world.add_pod("late", "c");
  world.add_pod("late", "d");
  CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "short-circuit");
  CHECK(way_in_kernel(world, world.at("c"), world.at("d")) == "none");
  world.agent.start();
  world.wait_not_enrolled("shop", "b");
  world.wait_enrolled("late", "c");
  world.wait_enrolled("late", "d");
  CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "direct");
  CHECK(way_in_kernel(world, world.at("c"), world.at("d")) == "short-circuit");
  CHECK_FALSE(world.pinned.pod(world.net.cookie("b")));
}

TEST_CASE("a full queue outlives the agent") {
  World world;
  const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(pair.client.get(), pair.server.get());
  std::string queued(300000, '\0');
  Payload(2).fill(0, queued);
  send_all(pair.client.get(), queued);
  REQUIRE(world.pinned.budget_used(0) > 0);
  world.agent.kill9();
  world.agent.start();
  CHECK(receive_exactly(pair.server.get(), queued.size()) == queued);
  exchange(pair.client.get(), pair.server.get());
  CHECK(eventually(seconds(10), [&] { return world.pinned.budget_used(0) == 0; }));
}

}  // namespace
}  // namespace underpass::test
