// SPDX-License-Identifier: Apache-2.0
// The agent goes, and comes back, while its workers run: connections do not notice, new ones are proxied while there
// are sockets to dial with and go direct afterwards.
#include <doctest/doctest.h>

#include <iostream>

#include "test/netns/workers/churn.h"
#include "test/netns/workers/scene.h"

namespace underpass::test {
namespace {

TEST_CASE("agent: killed under proxied connections, and started again") {
  TwoWorkers two;
  const Live live(two);
  const pid_t shop = two.scene.worker_pid("shop"), bank = two.scene.worker_pid("bank");
  two.scene.world.agent.kill9();
  live.check();
  CHECK(two.way("a", "b") == "proxied");
  CHECK(two.way("out", "b") == "proxied");
  // Then its sockets to dial with are used up.
  const EchoServer server(listen_at(two.at("out"), AF_INET));
  Churn churn(two.at("a"), server.address(), 100);
  const auto direct = two.scene.world.established(UP_WAY_DIRECT);
  REQUIRE(eventually(seconds(20), [&] { return two.scene.world.established(UP_WAY_DIRECT) > direct + 300; }));
  const auto tally = churn.stop();
  std::cout << "agent: gone, with 100 connects a second: " << tally.to_string() << "\n";
  CHECK(tally.hung == 0);
  CHECK(tally.refused.empty());
  CHECK(tally.broken == 0);
  CHECK(two.way("a", "out") == "direct");
  live.check();

  two.scene.world.agent.start();
  CHECK(eventually(kSoon, [&] { return two.way("a", "out") == "proxied"; }));
  live.check();
  CHECK(two.scene.worker_pid("shop") == shop);
  CHECK(two.scene.worker_pid("bank") == bank);
  CHECK(eventually(kSoon, [&] { return two.way("out", "b", AF_INET6) == "proxied"; }));
  // And it is its worker as any is.
  CHECK(two.kill_worker() != shop);
  CHECK(two.way("a", "b") == "proxied");
  CHECK(two.way("out", "b") == "proxied");
}

TEST_CASE("agent: stopped in good order, and started again") {
  TwoWorkers two;
  const Live live(two);
  const pid_t shop = two.scene.worker_pid("shop");
  for (int i = 0; i < 2; ++i) {
    two.scene.world.agent.stop();
    live.check();
    CHECK(two.way("a", "b") == "proxied");
    two.scene.world.agent.start();
    live.check();
    CHECK(two.scene.worker_pid("shop") == shop);
    CHECK(two.way("a", "b") == "proxied");
  }
}

TEST_CASE("agent: told to stop in the middle of starting a worker") {
  TwoWorkers two;
  for (int i = 0; i < 5; ++i) {
    const pid_t shop = two.scene.worker_pid("shop");
    ::kill(shop, SIGKILL);
    const auto end = Clock::now() + kSoon;
    while (!two.has_other_worker("shop", shop)) REQUIRE(Clock::now() < end);  // without a pause, to be in time
    two.scene.world.agent.stop();
    two.scene.world.agent.start();
    REQUIRE(eventually(kSoon, [&] { return two.way("a", "b") == "proxied"; }));
  }
}

TEST_CASE("agent: killed together with its workers, connections go direct at once") {
  TwoWorkers two;
  const pid_t shop = two.scene.worker_pid("shop"), bank = two.scene.worker_pid("bank");
  two.scene.world.agent.kill9();
  for (const pid_t pid : {shop, bank}) ::kill(pid, SIGKILL);
  // A process of which each thread is on its way out is in no control group any more, but may have its files still.
  REQUIRE(eventually(kSoon, [&] { return two.scene.world.pinned.entries("up_listeners") == 0; }));
  for (const int family : kFamilies) {
    CHECK(two.way("a", "out", family) == "direct");
    CHECK(two.way("a", "b", family) == "direct");
    CHECK(two.way("out", "b", family) == "direct");
    CHECK(two.way("c", "a", family) == "direct");
  }
  two.scene.world.agent.start();
  CHECK(eventually(kSoon, [&] { return two.way("a", "b") == "proxied"; }));
}

TEST_CASE("agent: what changed while it was away counts when it is back") {
  TwoWorkers two;
  const Live live(two);
  const pid_t shop = two.scene.worker_pid("shop");
  two.scene.world.agent.kill9();
  two.scene.world.objects.put(NamespaceObject{"bank", {.mesh = "enabled", .short_circuit = "off"}});
  PodObject b = two.scene.world.pod_object("shop", "b");
  b.settings = {.capture = "auto"};
  two.scene.world.objects.put(b);
  two.scene.world.agent.start();
  two.scene.wait_not_captured("b");
  two.scene.wait_not_captured("c");
  CHECK(eventually(kSoon, [&] { return two.way("out", "b") == "direct"; }));
  CHECK(two.way("c", "out") == "direct");
  CHECK(two.way("a", "out") == "proxied");
  CHECK(two.scene.worker_pid("shop") == shop);
  CHECK(eventually(kSoon, [&] { return two.scene.worker("bank").empty(); }));
  live.check();
}

}  // namespace
}  // namespace underpass::test
