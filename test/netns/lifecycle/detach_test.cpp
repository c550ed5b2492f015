// SPDX-License-Identifier: Apache-2.0
// `underpassctl detach`: the mesh goes without a trace and without a byte lost, with an agent and without.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstring>

#include "test/netns/accounts.h"
#include "test/netns/lifecycle/watch.h"
#include "test/support/files.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

// What is to be gone after a detach.
struct Traces {
  explicit Traces(const World& w) : world(w), programs(w.pinned.program_ids()) {}
  void check_gone() const {
    CHECK_FALSE(world.pinned.any());
    // The kernel frees links and programs a moment after their last holder let go.
    CHECK(eventually(seconds(5), [&] { return programs_at(world.sandbox.cgroup()).empty(); }));
    CHECK(eventually(seconds(10), [&] { return !any_program_alive(programs); }));
  }

  const World& world;
  std::set<std::uint32_t> programs;
};

TEST_CASE("detach under traffic: streams go on, nothing is left, attach brings it back") {
  World world;
  const Traces traces(world);
  CHECK(traces.programs.size() >= 5);
  CHECK(programs_at(world.sandbox.cgroup()).size() == 3);
  Traffic traffic({.a = world.at("a"), .b = world.at("b")});
  const Pair live = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(live.client.get(), live.server.get());
  let_run(traffic, 20);

  const Finished detached = world.ctl.run({"detach"});
  INFO(detached.out << detached.err);
  CHECK(detached.exit.code == 0);
  traces.check_gone();
  exchange(live.client.get(), live.server.get(), 50);
  let_run(traffic, 20);
  CHECK(world.ctl.connections().empty());
  CHECK(world.ctl.state() == "degraded");

  CHECK(world.ctl.run({"attach"}).exit.code == 0);
  for (const char* name : {"a", "b"}) world.wait_enrolled("shop", name);
  const Accounts accounts(world);
  for (const int family : {AF_INET, AF_INET6}) {
    CHECK(way_of_new_connection(world, world.at("a"), world.at("b"), family) == "short-circuit");
  }
  CHECK(accounts.redirected_bytes() > 0);
  CHECK(world.ctl.state() == "ready");
  exchange(live.client.get(), live.server.get(), 50);
  let_run(traffic, 20);
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
}

TEST_CASE("detach and attach again and again under traffic") {
  World world;
  Traffic traffic({.a = world.at("a"), .b = world.at("b")});
  for (int i = 0; i < 8 && !traffic.failed(); ++i) {
    const Finished detached = world.ctl.run({"detach", "--node"});
    INFO(detached.out << detached.err);
    CHECK(detached.exit.code == 0);
    let_run(traffic, 3);
    CHECK(world.ctl.run({"attach"}).exit.code == 0);
    let_run(traffic, 3);
  }
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
}

TEST_CASE("detach without an agent, under traffic; it lasts until attach") {
  World world;
  const Traces traces(world);
  Traffic traffic({.a = world.at("a"), .b = world.at("b")});
  let_run(traffic, 20);
  world.agent.kill9();
  const Finished detached = world.ctl.run({"detach"});
  INFO(detached.out << detached.err);
  CHECK(detached.exit.code == 0);
  traces.check_gone();
  let_run(traffic, 20);
  world.agent.start("degraded");
  CHECK_FALSE(world.pinned.any());
  CHECK_FALSE(world.ctl.pod("shop/a")->enrolled);
  CHECK(world.ctl.run({"attach"}).exit.code == 0);
  for (const char* name : {"a", "b"}) world.wait_enrolled("shop", name);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
}

TEST_CASE("detach waits for a slow reader and loses nothing") {
  World world;
  const Traces traces(world);
  const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET6);
  exchange(pair.client.get(), pair.server.get());
  std::string queued(300000, '\0');
  Payload(3).fill(0, queued);
  send_all(pair.client.get(), queued);
  REQUIRE(world.pinned.budget_used(0) > 0);
  Process detaching({{built_program("underpassctl"), "--run-dir", world.sandbox.run_dir(), "--bpffs",
                      world.sandbox.bpffs(), "--state-dir", world.sandbox.state_dir(), "detach"}});
  // It says what it waits for, or at least does not end.
  CHECK_FALSE(detaching.wait(milliseconds(300)));
  CHECK(receive_exactly(pair.server.get(), queued.size()) == queued);
  const std::optional<Exit> exit = detaching.wait(seconds(10));
  REQUIRE(exit);
  INFO(detaching.err());
  CHECK(exit->code == 0);
  traces.check_gone();
  exchange(pair.client.get(), pair.server.get());
}

TEST_CASE("a connection that does not drain is cut: reset at both ends, named, exit 1") {
  for (const bool with_agent : {true, false}) {
    for (const int family : {AF_INET, AF_INET6}) {
      CAPTURE(with_agent);
      CAPTURE(family);
      World world;
      const Traces traces(world);
      const Pair stuck = make_pair_between(world.at("a"), world.at("b"), family);
      const Pair fine = make_pair_between(world.at("a"), world.at("b"), family);
      for (const Pair* pair : {&stuck, &fine}) exchange(pair->client.get(), pair->server.get());
      send_all(stuck.client.get(), std::string(300000, 'x'));
      REQUIRE(world.pinned.budget_used(0) > 0);
      const std::uint64_t id = socket_cookie(stuck.client.get());
      if (!with_agent) world.agent.kill9();
      const Finished detached = world.ctl.run({"-o", "json", "detach", "--timeout", "500ms"});
      INFO(detached.out << detached.err);
      CHECK(detached.exit.code == 1);
      const boost::json::value answer = boost::json::parse(detached.out);
      const boost::json::array& cut = answer.at("cut").as_array();
      REQUIRE(cut.size() == 1);
      CHECK(text_of(cut[0].at("id")) == std::to_string(id));
      traces.check_gone();
      // Nobody takes the truncated stream for a whole one.
      std::string buffer(1u << 20, '\0');
      ssize_t n = 1;
      while (n > 0) n = ::recv(stuck.server.get(), buffer.data(), buffer.size(), 0);
      CHECK(n == -1);
      CHECK(errno == ECONNRESET);
      n = ::recv(stuck.client.get(), buffer.data(), buffer.size(), 0);
      CHECK(n == -1);
      exchange(fine.client.get(), fine.server.get());
    }
  }
}

TEST_CASE("detach of one namespace leaves the others alone") {
  World world;
  world.objects.put(NamespaceObject{"other", kAccelerated});
  world.add_pod("other", "c");
  world.add_pod("other", "d");
  world.wait_enrolled("other", "c");
  world.wait_enrolled("other", "d");
  Traffic traffic({.a = world.at("a"), .b = world.at("b")});
  Traffic others({.a = world.at("c"), .b = world.at("d"), .lasting = 2, .renewed = 1});
  let_run(traffic, 20);
  const Finished detached = world.ctl.run({"detach", "--namespace", "shop"});
  INFO(detached.out << detached.err);
  CHECK(detached.exit.code == 0);
  for (const char* name : {"a", "b"}) world.wait_not_enrolled("shop", name);
  CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "none");
  CHECK(way_of_new_connection(world, world.at("c"), world.at("d")) == "short-circuit");
  let_run(traffic, 20);
  // It outlives the agent.
  world.agent.kill9();
  world.agent.start();
  world.wait_not_enrolled("shop", "a");
  CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "none");
  CHECK(world.ctl.run({"attach", "--namespace", "shop"}).exit.code == 0);
  for (const char* name : {"a", "b"}) world.wait_enrolled("shop", name);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  for (Traffic* one : {&traffic, &others}) {
    const StreamsReport report = one->stop();
    INFO(report.to_string());
    CHECK(report.ok());
  }
  CHECK(world.ctl.run({"detach", "--namespace", "nobody"}).exit.code == 4);
  world.agent.kill9();
  CHECK(world.ctl.run({"detach", "--namespace", "shop"}).exit.code == 3);
}

TEST_CASE("detach where nothing is attached is no error") {
  World world;
  CHECK(world.ctl.run({"detach"}).exit.code == 0);
  CHECK(world.ctl.run({"detach"}).exit.code == 0);
  world.agent.stop();
  CHECK(world.ctl.run({"detach"}).exit.code == 0);
}

}  // namespace
}  // namespace underpass::test
