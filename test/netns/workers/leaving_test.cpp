// SPDX-License-Identifier: Apache-2.0
// Pods, namespaces and nodes that leave their workers, or change them, while connections run.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "test/netns/workers/churn.h"
#include "test/netns/workers/scene.h"
#include "test/support/process.h"

namespace underpass::test {
namespace {

constexpr const char* kMeshFile = "mesh.yaml";

void check_direct(const TwoWorkers& two) {
  for (const int family : kFamilies) {
    CHECK(two.way("a", "out", family) == "direct");
    CHECK(two.way("out", "b", family) == "direct");
    CHECK(two.way("a", "b", family) == "direct");
  }
}

void check_worker_goes(const TwoWorkers& two, const std::string& name) {
  CHECK(eventually(kSoon, [&] { return two.scene.worker(name).empty(); }));
}

TEST_CASE("leaving: without the annotation connections run to their end, and new ones go direct") {
  const TwoWorkers two;
  Live live(two);
  const pid_t pid = two.scene.worker_pid();
  two.scene.world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
  for (const char* pod : {"a", "b"}) two.scene.wait_not_captured(pod);
  check_direct(two);
  live.check();
  CHECK(two.scene.worker_pid() == pid);
  CHECK(two.way("c", "out") == "proxied");
  live.end();
  check_worker_goes(two, "shop");
  two.scene.world.objects.put(NamespaceObject{"shop", captured()});
  for (const char* pod : {"a", "b"}) two.scene.wait_captured(pod);
  CHECK(two.way("a", "b") == "proxied");
}

TEST_CASE("leaving: the annotation comes and goes under connections, and none of them notices") {
  const TwoWorkers two;
  const EchoServer inside(listen_at(two.at("b"), AF_INET)), outside(listen_at(two.at("out"), AF_INET));
  Churn in(two.at("out"), inside.address(), 300), out(two.at("a"), outside.address(), 300);
  for (int i = 0; i < 5; ++i) {
    two.scene.world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
    for (const char* pod : {"a", "b"}) two.scene.wait_not_captured(pod);
    two.scene.world.objects.put(NamespaceObject{"shop", captured()});
    for (const char* pod : {"a", "b"}) two.scene.wait_captured(pod);
    const auto proxied = two.scene.world.established(UP_WAY_PROXIED);
    REQUIRE(eventually(kSoon, [&] { return two.scene.world.established(UP_WAY_PROXIED) > proxied + 100; }));
  }
  for (auto* churn : {&in, &out}) {
    const auto tally = churn->stop();
    INFO(tally.to_string());
    CHECK(tally.served > 300);
    CHECK(tally.broken == 0);
    CHECK(tally.hung == 0);
    CHECK(tally.refused.empty());
  }
}

// Connections that wait in the queues of a worker's listeners, more than it has sockets to dial with.
class Queued {
 public:
  explicit Queued(const TwoWorkers& two)
      : two_(two),
        pid_(two.scene.worker_pid()),
        inside_(listen_at(two.at("b"), AF_INET)),
        outside_(listen_at(two.at("out"), AF_INET)) {
    REQUIRE(::kill(pid_, SIGSTOP) == 0);
    for (int i = 0; i < kMany; ++i) {
      clients_.push_back(connect_from(two.at("a"), outside_.address()));
      clients_.push_back(connect_from(two.at("out"), inside_.address()));
    }
  }
  void check_carried() {
    REQUIRE(::kill(pid_, SIGCONT) == 0);
    INFO(two_.scene.world.agent.log());
    for (const auto& client : clients_) send_all(client.get(), "word");
    for (const auto& client : clients_) REQUIRE(receive_exactly(client.get(), 4, seconds(5)) == "word");
    clients_.clear();
  }

 private:
  static constexpr int kMany = 300;
  const TwoWorkers& two_;
  const pid_t pid_;
  const EchoServer inside_, outside_;
  std::vector<UniqueFd> clients_;
};

TEST_CASE("leaving: whoever was led to a worker that is then told to go is carried, be they many") {
  const TwoWorkers two;
  Queued queued(two);
  two.scene.world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
  for (const char* pod : {"a", "b"}) two.scene.wait_not_captured(pod);
  queued.check_carried();
  check_worker_goes(two, "shop");
}

TEST_CASE("leaving: ... or that is told to let go of their pods") {
  TwoWorkers two;
  auto& world = two.scene.world;
  world.net.add("d");
  world.objects.put(world.pod_object("shop", "d"));
  two.scene.wait_captured("d");
  Queued queued(two);
  for (const char* name : {"a", "b"}) {
    auto pod = world.pod_object("shop", name);
    pod.settings.capture = "auto";
    world.objects.put(pod);
    two.scene.wait_not_captured(name);
  }
  queued.check_carried();
  CHECK(two.way("d", "out") == "proxied");
}

TEST_CASE("leaving: without the label of the mesh, too") {
  const TwoWorkers two;
  Live live(two);
  two.scene.world.objects.put(NamespaceObject{"shop", {.mesh = "disabled"}});
  for (const char* pod : {"a", "b"}) two.scene.wait_not_captured(pod);
  CHECK(two.way("a", "b") == "direct");
  live.check();
  live.end();
  check_worker_goes(two, "shop");
}

TEST_CASE("leaving: nothing of a deleted pod is kept, and others go on") {
  TwoWorkers two;
  const Live live(two);
  const Pair of_bank = make_pair_between(two.at("c"), two.at("out"), AF_INET);
  auto& world = two.scene.world;
  world.net.add("d");
  world.objects.put(world.pod_object("shop", "d"));
  two.scene.wait_captured("d");
  Pair in = make_pair_between(two.at("out"), two.at("d"), AF_INET);
  Pair out = make_pair_between(two.at("d"), two.at("out"), AF_INET);
  exchange(in.client.get(), in.server.get(), 1);
  exchange(out.client.get(), out.server.get(), 1);
  const auto links = [&] {
    return run_ok({.argv = {"ip", "-o", "link", "show", "type", "veth"}, .netns = world.net.bridge_netns()});
  };
  const std::string before = links();
  const auto count = std::ranges::count(before, '\n');
  // Its processes end, and its namespace has no name any more.
  in.server.reset();
  out.client.reset();
  world.objects.remove_pod("shop", "d");
  world.net.unname("d");
  const bool gone = eventually(seconds(15), [&] {
    const std::string now = links();
    return std::ranges::count(now, '\n') == count - 1;
  });
  INFO(world.agent.log());
  CHECK(gone);
  live.check();
  exchange(of_bank.client.get(), of_bank.server.get(), 1);
  CHECK(two.way("a", "b") == "proxied");
}

TEST_CASE("leaving: detach of a namespace") {
  const TwoWorkers two;
  Live live(two);
  const auto detached = two.scene.world.ctl.run({"detach", "--namespace", "shop"});
  INFO(detached.out << detached.err);
  CHECK(detached.exit.code == 0);
  for (const char* pod : {"a", "b"}) two.scene.wait_not_captured(pod);
  CHECK(two.way("a", "b") == "direct");
  CHECK(two.way("c", "out") == "proxied");
  live.check();
  live.end();
  check_worker_goes(two, "shop");
  CHECK(two.scene.world.ctl.run({"attach", "--namespace", "shop"}).exit.code == 0);
  for (const char* pod : {"a", "b"}) two.scene.wait_captured(pod);
  CHECK(two.way("out", "b") == "proxied");
}

TEST_CASE("leaving: detach of the node") {
  const TwoWorkers two;
  Live live(two);
  const auto detached = two.scene.world.ctl.run({"detach"});
  INFO(detached.out << detached.err);
  CHECK(detached.exit.code == 0);
  CHECK_FALSE(two.scene.world.pinned.any());
  live.check();
  const Pair pair = make_pair_between(two.at("a"), two.at("b"), AF_INET);
  exchange(pair.client.get(), pair.server.get(), 1);
  live.end();
  for (const char* name : {"shop", "bank"}) check_worker_goes(two, name);
  CHECK(eventually(kSoon, [&] { return !std::filesystem::exists(two.scene.world.sandbox.cgroup() / "underpass"); }));
  CHECK(two.scene.world.ctl.run({"attach"}).exit.code == 0);
  for (const char* pod : {"a", "b", "c"}) two.scene.wait_captured(pod);
  CHECK(two.way("a", "b") == "proxied");
}

TEST_CASE("leaving: isolation shared is one worker for all, and may change under traffic") {
  const TwoWorkers two({}, "{isolation: shared}");
  CHECK(two.scene.worker("_shared").size() == 1);
  CHECK(two.scene.worker("shop").empty());
  for (const int family : kFamilies) {
    CHECK(two.way("a", "out", family) == "proxied");
    CHECK(two.way("c", "b", family) == "proxied");
    CHECK(two.way("out", "c", family) == "proxied");
  }
  Live live(two);
  const EchoServer server(listen_at(two.at("b"), AF_INET));
  Churn of_a(two.at("a"), server.address(), 100), of_c(two.at("c"), server.address(), 100),
      of_out(two.at("out"), server.address(), 100);
  const auto put = [&](const std::string& isolation) {
    two.scene.world.objects.put_text(
        kMeshFile, "apiVersion: underpass.dev/v1alpha1\nkind: Mesh\nmetadata:\n  name: default\nspec: {isolation: " +
                       isolation + "}\n");
  };
  const auto let_run = [&] {
    for (auto* churn : {&of_a, &of_c, &of_out}) {
      const auto until = churn->tally().served + 30;
      CHECK(eventually(kSoon, [&] { return churn->tally().served >= until; }));
    }
  };
  let_run();
  put("namespace");
  CHECK(
      eventually(kSoon, [&] { return two.scene.worker("shop").size() == 1 && two.scene.worker("bank").size() == 1; }));
  for (const char* pod : {"a", "b", "c"}) two.scene.wait_captured(pod);
  CHECK(eventually(kSoon, [&] { return two.way("a", "b") == "proxied" && two.way("c", "out") == "proxied"; }));
  live.check();
  let_run();
  put("shared");
  CHECK(eventually(kSoon, [&] { return two.scene.worker("_shared").size() >= 1; }));
  for (const char* pod : {"a", "b", "c"}) two.scene.wait_captured(pod);
  for (const char* name : {"shop", "bank"}) check_worker_goes(two, name);
  live.check();
  let_run();
  for (auto* churn : {&of_a, &of_c, &of_out}) {
    const auto tally = churn->stop();
    std::cout << "leaving: isolation changed twice: " << tally.to_string() << "\n";
    CHECK(tally.served > 50);
    CHECK(tally.broken == 0);
    CHECK(tally.hung == 0);
    CHECK(tally.refused.empty());
  }
  INFO(two.scene.world.agent.log());
  CHECK(two.way("a", "b") == "proxied");
  live.end();
}

}  // namespace
}  // namespace underpass::test
