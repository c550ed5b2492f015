// SPDX-License-Identifier: Apache-2.0
// Workers that die: another comes with the same listeners, and what waited there is served; who dies again and again is
// left alone for a while, and its pods go on without.
#include <doctest/doctest.h>

#include <fstream>
#include <iostream>

#include "test/netns/workers/churn.h"
#include "test/netns/workers/scene.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

TEST_CASE("death: a killed worker's connections break at both ends, the next one has its listeners") {
  const TwoWorkers two;
  const UniqueFd listener = listen_at(two.at("out"), AF_INET);
  const Address to = local_address(listener.get());
  const Pair of_bank = make_pair_between(two.at("c"), two.at("out"), AF_INET);
  const Pair live = make_pair_between(two.at("a"), two.at("out"), AF_INET);
  const Pair inbound = make_pair_between(two.at("out"), two.at("b"), AF_INET6);
  for (const Pair* pair : {&of_bank, &live, &inbound}) exchange(pair->client.get(), pair->server.get(), 2);
  const pid_t pid = two.scene.worker_pid();

  const auto begun = Clock::now();
  ::kill(pid, SIGKILL);
  // Somebody is at the listener all the time, dead or alive.
  const UniqueFd meanwhile = connect_from(two.at("a"), to);
  const UniqueFd served = accept_from(listener.get());
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
  exchange(meanwhile.get(), served.get(), 2);
  std::cout << "death: a connection made while the worker was dead was served after " << took.count() << " ms\n";
  CHECK(two.has_other_worker("shop", pid));
  for (const Pair* pair : {&live, &inbound}) {
    CHECK(ends_with_error(pair->client.get()));
    CHECK(ends_with_error(pair->server.get()));
  }
  exchange(of_bank.client.get(), of_bank.server.get(), 2);
  CHECK(two.way("a", "b") == "proxied");
  CHECK(two.way("out", "b", AF_INET6) == "proxied");
  CHECK(two.scene.world.ctl.state() == usual_state());
}

TEST_CASE("death: a worker that dies five times in a minute is left alone, and its pods go on without it") {
  const TwoWorkers two;
  two.scene.world.objects.put_text(
      "policy.yaml", R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata":)"
                     R"( {"namespace": "shop", "name": "shut"}, "spec": {"action": "DENY", "rules": )"
                     R"([{"to": [{"operation": {"ports": ["9999"]}}]}]}})"
                     "\n");
  UniqueFd shut = listen_at(two.at("b"), AF_INET, {}, 9999);
  const auto is_denied = [&](const char* from) {
    const UniqueFd fd = socket_in(two.at(from).netns, AF_INET, SOCK_STREAM);
    const Address to = local_address(shut.get());
    return ::connect(fd.get(), to.get(), to.size) != 0 && errno == ECONNREFUSED;
  };
  REQUIRE(eventually(kSoon, [&] { return is_denied("a"); }));
  shut.reset();  // with whoever came before
  shut = listen_at(two.at("b"), AF_INET, {}, 9999);
  const Pair of_bank = make_pair_between(two.at("c"), two.at("out"), AF_INET);
  for (int i = 0; i < 4; ++i) two.kill_worker();
  ::kill(two.scene.worker_pid(), SIGKILL);
  two.scene.wait_not_captured("a");
  CHECK(two.scene.worker("shop").empty());
  for (const int family : kFamilies) {
    CHECK(two.way("a", "out", family) == "direct");
    CHECK(two.way("a", "b", family) == "direct");
    CHECK(two.way("out", "b", family) == "direct");
    CHECK(two.way("c", "out", family) == "proxied");
  }
  for (const char* from : {"a", "out"}) CHECK(is_denied(from));
  CHECK_FALSE(readable(shut.get(), milliseconds(0)));
  exchange(of_bank.client.get(), of_bank.server.get(), 2);
  CHECK(eventually(kSoon, [&] { return two.scene.world.ctl.state() == "degraded"; }));
  INFO(two.scene.world.ctl.run({"status"}).out);
  CHECK(two.status_says("worker shop: it ended 5 times in a minute"));
  // After a while it is tried again.
  CHECK(eventually(seconds(20), [&] { return two.scene.worker("shop").size() == 1; }));
  two.scene.wait_captured("a");
  CHECK(two.way("a", "b") == "proxied");
  CHECK(eventually(kSoon, [&] { return two.scene.world.ctl.state() == usual_state(); }));
}

TEST_CASE("death: the process that makes sockets is killed again and again, and no connection notices") {
  const TwoWorkers two;
  const EchoServer server(listen_at(two.at("out"), AF_INET));
  Churn churn(two.at("a"), server.address(), 300);
  const fs::path procs = two.scene.world.sandbox.cgroup() / "underpass" / "sockets" / "cgroup.procs";
  for (int kills = 0; kills < 10; ++kills) {
    pid_t maker = 0;
    REQUIRE(eventually(kSoon, [&] { return std::ifstream(procs) >> maker && maker > 0; }));
    REQUIRE(::kill(maker, SIGKILL) == 0);
    const auto served = churn.tally().served;
    REQUIRE(eventually(kSoon, [&] { return churn.tally().served > served + 100; }));
  }
  const auto tally = churn.stop();
  INFO(tally.to_string());
  CHECK(tally.broken == 0);
  CHECK(tally.hung == 0);
  CHECK(tally.refused.empty());
  CHECK(two.way("a", "out") == "proxied");
}

TEST_CASE("death: a worker that hangs is replaced, and who waited for it is served") {
  const TwoWorkers two;
  const UniqueFd listener = listen_at(two.at("out"), AF_INET);
  const pid_t pid = two.scene.worker_pid();
  const auto begun = Clock::now();
  ::kill(pid, SIGSTOP);
  const UniqueFd client = connect_from(two.at("a"), local_address(listener.get()));
  CHECK(two.way("c", "out") == "proxied");
  const UniqueFd server = accept_from(listener.get(), seconds(30));
  exchange(client.get(), server.get(), 1);
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
  std::cout << "death: who came to a worker that hangs was served after " << took.count() << " ms\n";
  CHECK(two.has_other_worker("shop", pid));
  CHECK(two.scene.world.agent.log().contains("worker-silent worker=shop"));
}

TEST_CASE(
    "death: of a thousand connects a second, with a kill a second, only what was in a killed worker's hands breaks") {
  const TwoWorkers two;
  const EchoServer server(listen_at(two.at("b"), AF_INET));
  Churn churn(two.at("a"), server.address(), 1000);
  Churn of_bank(two.at("c"), server.address(), 100);
  const auto end = Clock::now() + seconds(10);
  int kills = 0;
  while (Clock::now() < end) {
    const auto next = Clock::now() + seconds(1);
    if (const auto pids = two.scene.worker(); pids.size() == 1) kills += ::kill(pids.front(), SIGKILL) == 0 ? 1 : 0;
    (void)eventually(std::chrono::duration_cast<milliseconds>(next - Clock::now()), [] { return false; });
  }
  const auto tally = churn.stop(), of_bank_tally = of_bank.stop();
  std::cout << "death: kills=" << kills << " " << tally.to_string() << "; of the other namespace "
            << of_bank_tally.to_string() << "\n";
  INFO(two.scene.world.agent.log());
  CHECK(kills >= 5);
  CHECK(tally.served > 5000);
  CHECK(tally.hung == 0);
  CHECK(tally.refused.empty());
  CHECK(tally.broken < 100 * static_cast<unsigned>(kills));
  CHECK(of_bank_tally.hung == 0);
  CHECK(of_bank_tally.refused.empty());
}

}  // namespace
}  // namespace underpass::test
