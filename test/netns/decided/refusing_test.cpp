// SPDX-License-Identifier: Apache-2.0
// A policy never fails open: where no worker is there to decide, nobody connects.
#include <doctest/doctest.h>
#include <signal.h>

#include <filesystem>
#include <string>

#include "test/netns/decided/scene.h"

namespace underpass::test {
namespace {

// From everywhere and over both families; what bypasses policy does so still.
void check_closed(const Decided& scene) {
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd listener = listen_at(scene.at("b"), family);
    for (const char* from : {"a", "out"}) {
      CAPTURE(from);
      check_refused(scene.at(from), listener.get());
    }
    check_refused(scene.host(), listener.get());
    // Itself it reaches.
    check_passes(scene.at("b"), listener.get());
  }
}

TEST_CASE("decided: while the worker is held back nobody connects, and the metric and the flows say why") {
  const Decided scene;
  scene.kill_for_good("shop");
  check_closed(scene);
  CHECK(eventually(seconds(10), [&] { return scene.metric_says_no_worker(); }));
  CHECK(scene.ctl.run({"flows"}).out.contains("no worker"));
  CHECK(scene.agent.log().contains("denied policy=\"no worker\""));
  scene.wait_decided();
  CHECK(scene.way(scene.at("a"), scene.at("b")) == "proxied");
}

TEST_CASE(
    "decided: a policy that only denies, of which the kernel can tell nothing, closes its pod without a worker too") {
  const Decided scene;
  const auto set = scene.pinned.pod(scene.net.cookie("b"))->policy;
  scene.put_policy(policy_of("no-admin", R"({"selector": {"matchLabels": {"app": "b"}}, "action": "DENY", )"
                                         R"("rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}]})"));
  REQUIRE(eventually(seconds(10), [&] { return scene.pinned.pod(scene.net.cookie("b"))->policy != set; }));
  scene.wait_decided();
  CHECK(scene.way(scene.at("out"), scene.at("b")) == "proxied");
  scene.kill_for_good("shop");
  check_closed(scene);
}

TEST_CASE("decided: agent and worker dead, nobody connects; the next agent brings a worker") {
  Decided scene;
  scene.agent.kill9();
  CHECK(scene.way(scene.at("out"), scene.at("b")) == "proxied");  // the worker has dial sockets still
  for (const pid_t pid : scene.workers("shop")) ::kill(pid, SIGKILL);
  // A process is out of its cgroup before the kernel has closed its listeners: who comes meanwhile is reset.
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  REQUIRE(eventually(seconds(10), [&] {
    CHECK_FALSE(readable(listener.get(), milliseconds(0)));
    return scene.workers("shop").empty() && is_refused(scene.at("out"), local_address(listener.get()));
  }));
  check_closed(scene);
  scene.agent.start();
  REQUIRE(eventually(seconds(15), [&] { return scene.workers("shop").size() == 1; }));
  scene.wait_decided();
  CHECK(eventually(seconds(15), [&] {
    return dial(scene.at("out"), local_address(listen_at(scene.at("b"), AF_INET).get())).empty();
  }));
  CHECK(scene.way(scene.at("a"), scene.at("b")) == "proxied");
}

TEST_CASE("decided: a worker whose dial sockets are used up while the agent is dead takes nobody past policy") {
  Decided scene;
  scene.agent.kill9();
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  int through = 0;
  const bool closed = eventually(seconds(10), [&] {
    if (is_refused(scene.at("out"), local_address(listener.get()))) return true;
    ++through;
    return false;
  });
  CHECK(closed);
  CHECK(through > 0);
  empty_queue(listener.get());
  check_closed(scene);
}

TEST_CASE("decided: the ports of probes and excluded ones are open without a worker, for whom they are") {
  const Decided scene;
  const UniqueFd probed = listen_at(scene.at("b"), AF_INET), excluded = listen_at(scene.at("b"), AF_INET);
  const auto probe = local_address(probed.get()).port(), exclude = local_address(excluded.get()).port();
  const UniqueFd probed6 = listen_at(scene.at("b"), AF_INET6, {}, probe),
                 excluded6 = listen_at(scene.at("b"), AF_INET6, {}, exclude);
  scene.put_b({{"underpass.dev/exclude-inbound-ports", std::to_string(exclude)}}, probe);
  const auto host_gets_in = [&](const UniqueFd& fd) { return dial(scene.host(), local_address(fd.get())).empty(); };
  scene.kill_for_good("shop");
  REQUIRE(eventually(seconds(10), [&] { return host_gets_in(probed) && host_gets_in(excluded); }));
  empty_queue(probed.get());
  empty_queue(excluded.get());
  for (const UniqueFd* fd : {&probed, &probed6}) {
    check_passes(scene.host(), fd->get());
    for (const char* from : {"a", "out"}) check_refused(scene.at(from), fd->get());
  }
  for (const UniqueFd* fd : {&excluded, &excluded6}) {
    check_passes(scene.host(), fd->get());
    for (const char* from : {"a", "out"}) check_passes(scene.at(from), fd->get());
  }
  scene.wait_decided();
  // With a worker they pass it by, too.
  CHECK(scene.way(scene.host(), scene.at("b")) == "proxied");
  const auto proxied = scene.pinned.stats().connections[UP_WAY_PROXIED];
  check_passes(scene.host(), probed.get());
  check_passes(scene.at("out"), excluded6.get());
  CHECK(scene.pinned.stats().connections[UP_WAY_PROXIED] == proxied);
}

}  // namespace
}  // namespace underpass::test
