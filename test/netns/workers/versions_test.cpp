// SPDX-License-Identifier: Apache-2.0
// Workers that are not of this agent's version, or not there.
#include <doctest/doctest.h>

#include <fstream>

#include "test/netns/workers/scene.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

Agent::Options with_proxy(const std::string& path) { return {.more = {"--proxy", path}}; }

// The usual pods on which no worker can come into force.
struct Without {
  explicit Without(const std::string& proxy) : world(captured(), "degraded", with_proxy(proxy)) {
    world.add_pod("elsewhere", "out", {.mesh = "disabled"});
    world.wait_enrolled("shop", "a", "");
  }
  void check_goes_on() const {
    CHECK_FALSE(world.pinned.worker(world.net.cookie("a")));
    for (const int family : kFamilies)
      for (const char* from : {"a", "out"}) {
        const auto before = world.established(UP_WAY_PROXIED);
        const Pair pair = make_pair_between(world.at(from), world.at("b"), family);
        exchange(pair.client.get(), pair.server.get(), 1);
        CHECK(world.established(UP_WAY_PROXIED) == before);
      }
  }
  World world;
};

TEST_CASE("versions: no such program") {
  const Without without("/nonexistent/underpass-proxy");
  without.check_goes_on();
  INFO(without.world.agent.log());
  CHECK(without.world.agent.log().contains("start /nonexistent/underpass-proxy: No such file or directory"));
  CHECK(without.world.ctl.run({"status"}).out.contains("/nonexistent/underpass-proxy"));
}

TEST_CASE("versions: a program that ends at once") {
  const Without without("/bin/false");
  without.check_goes_on();
  CHECK(eventually(kSoon, [&] { return without.world.ctl.run({"status"}).out.contains("5 times in a minute"); }));
}

TEST_CASE("versions: a program of another version") {
  const Without without(built_program("other_version_worker"));
  CHECK(eventually(kSoon, [&] { return without.world.agent.log().contains("is of version 0.0.0-other"); }));
  without.check_goes_on();
  CHECK(without.world.ctl.run({"status"}).out.contains("install the two together"));
}

// A new agent, with other flags, on the ground of `two`.
struct NextAgent {
  NextAgent(TwoWorkers& two, const std::string& proxy) : agent(two.scene.world.sandbox, with_proxy(proxy)) {
    two.scene.world.agent.kill9();
    agent.start();
  }
  Agent agent;
};

TEST_CASE("versions: a running worker of the right version needs no program") {
  TwoWorkers two;
  const Pair live = make_pair_between(two.at("a"), two.at("out"), AF_INET);
  const pid_t shop = two.scene.worker_pid();
  const NextAgent next(two, "/nonexistent/underpass-proxy");
  CHECK(eventually(kSoon, [&] { return two.way("a", "out") == "proxied"; }));
  CHECK(two.scene.worker_pid() == shop);
  exchange(live.client.get(), live.server.get(), 2);
  CHECK(two.way("out", "b") == "proxied");
}

TEST_CASE(
    "versions: an agent that comes after an upgrade replaces the workers, and their connections end by themselves") {
  TwoWorkers two({.program = "other_version_agent", .more = {"--proxy", built_program("other_version_worker")}});
  const Pair live = make_pair_between(two.at("a"), two.at("b"), AF_INET);
  exchange(live.client.get(), live.server.get(), 2);
  const pid_t old = two.scene.worker_pid();

  two.scene.world.agent.kill9();
  Agent next(two.scene.world.sandbox);
  next.start();
  INFO(next.log());
  CHECK(eventually(kSoon,
                   [&] { return next.log().contains("worker-replaced worker=shop from=" + std::to_string(old)); }));
  CHECK(eventually(kSoon, [&] { return next.log().contains("worker-replaced worker=bank"); }));
  // The old one has its connection still, the new one has those that come.
  CHECK(two.scene.worker().size() == 2);
  exchange(live.client.get(), live.server.get(), 2);
  for (const int family : kFamilies) {
    CHECK(two.way("a", "out", family) == "proxied");
    CHECK(two.way("out", "b", family) == "proxied");
    CHECK(two.way("c", "a", family) == "proxied");
  }
  ::shutdown(live.client.get(), SHUT_WR);
  ::shutdown(live.server.get(), SHUT_WR);
  CHECK(eventually(kSoon, [&] { return two.has_other_worker("shop", old); }));
  CHECK(two.way("a", "out") == "proxied");
}

TEST_CASE("versions: the old worker dies while the one that replaces it is on its way") {
  TwoWorkers two({.program = "other_version_agent", .more = {"--proxy", built_program("other_version_worker")}});
  const pid_t old = two.scene.worker_pid();
  two.scene.world.agent.kill9();
  // One that takes its time to come.
  const fs::path script = two.scene.world.sandbox.root() / "slow-worker";
  std::ofstream(script) << "#!/bin/sh\nsleep 1\nexec " << built_program("underpass-proxy").string() << " \"$@\"\n";
  fs::permissions(script, fs::perms::owner_all);
  Agent next(two.scene.world.sandbox, with_proxy(script));
  next.start();
  REQUIRE(eventually(kSoon, [&] { return next.log().contains("successor=true"); }));
  ::kill(old, SIGKILL);
  INFO(next.log());
  CHECK(eventually(kSoon, [&] { return two.has_other_worker("shop", old) && two.way("out", "b") == "proxied"; }));
  // It hears of pods that come.
  two.scene.add("shop", "late", {});
  two.scene.wait_captured("late");
  CHECK(two.way("late", "out") == "proxied");
}

}  // namespace
}  // namespace underpass::test
