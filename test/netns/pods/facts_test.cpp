// SPDX-License-Identifier: Apache-2.0
// The facts about a pod that is found by its processes follow what happens to it: its containers and its sandbox end
// and begin again, its addresses are others, the CNI plugin hands its namespace over before anything runs there.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <algorithm>
#include <string>
#include <utility>

#include "test/netns/pods/scene.h"

namespace underpass::test {
namespace {

const std::string kNobody = "no process of the pod was found on this node (UID " + kWeb + ")";

std::string problem_of(const Result<compile::NetnsFact>& fact) { return fact ? "" : fact.error().message; }

// Whether anything keeps this namespace alive.
bool lives(NetnsCookie cookie) { return dataplane::find_netns(cookie).has_value(); }

// How many descriptors of this process keep the namespace.
int held(ino_t inode) {
  struct stat own{};
  if (::stat("/proc/self/ns/net", &own) != 0) throw_errno("/proc/self/ns/net");
  int out = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    struct stat file{};
    if (::stat(entry.path().c_str(), &file) == 0 && file.st_dev == own.st_dev && file.st_ino == inode) ++out;
  }
  return out;
}

TEST_CASE("netns facts: what ends in a pod, and what goes on") {
  Node node;
  const auto& web = node.net.add("web");
  node.add_object("web", kWeb, web);
  const auto cookie = node.net.cookie("web");
  CHECK(problem_of(node.fact()) == kNobody);
  KubeletPod pod(node.sandbox, kWeb, web.netns);
  auto& app = pod.add_container();
  CHECK(node.fact()->cookie == cookie);
  CHECK_FALSE(node.cache.next_walk());

  SUBCASE("a container is started again, and the sandbox stays") {
    app.kill();
    CHECK(node.fact()->path == ns_path(pod.pause()));
    CHECK_FALSE(node.cache.next_walk());
    pod.add_container();
    CHECK(node.fact()->path == ns_path(pod.pause()));
  }
  SUBCASE("the oldest process ends: another leads there, at once") {
    pod.pause().kill();
    const auto fact = node.fact();
    REQUIRE(fact);
    CHECK(fact->cookie == cookie);
    CHECK(fact->path == ns_path(app));
  }
  SUBCASE("too soon after the walk before, what is known holds until the next") {
    pod.pause().kill();
    const auto found = node.cache.refresh(node.snapshot, "node-a").at({"shop", "web"});
    CHECK(found->cookie == cookie);
    CHECK(node.cache.next_walk() == node.now + milliseconds(200));
    CHECK(node.fact()->path == ns_path(app));
  }
  SUBCASE("the oldest process goes to another namespace") {
    const auto go = node.sandbox.root() / "go";
    auto& mover = pod.add_process(
        pod.next_scope(), web.netns,
        {"sh", "-c", "until [ -e " + go.string() + " ]; do sleep 0.01; done; exec unshare -n sleep 99"});
    auto& other = pod.add_container();
    pod.pause().kill();
    app.kill();
    CHECK(node.fact()->path == ns_path(mover));
    write_atomically(go, "");
    REQUIRE(eventually(seconds(10), [&] { return inode_of(ns_path(mover)) != inode_of(web.netns); }));
    CHECK(node.fact()->path == ns_path(other));
  }
  SUBCASE("an address comes") {
    run_ok({.argv = {"ip", "addr", "add", "10.77.99.99/16", "dev", "eth0"}, .netns = web.netns});
    node.now += seconds(10);
    const auto addresses = node.fact()->addresses;
    CHECK(std::ranges::find(addresses, IpAddress::parse("10.77.99.99").value()) != addresses.end());
  }
  SUBCASE("all end") {
    pod.stop();
    CHECK(problem_of(node.fact()) == kNobody);
  }
  SUBCASE("the sandbox is another, with the same address or not") {
    node.net.remove("web");
    const auto& again = node.net.add("web");
    pod.recreate(again.netns);
    auto fact = node.fact();
    REQUIRE(fact);
    CHECK(fact->cookie == node.net.cookie("web"));
    CHECK(fact->cookie != cookie);
    CHECK_FALSE(lives(cookie));
    // The status comes later.
    CHECK(node.cache.next_walk().has_value());
    node.add_object("web", kWeb, again);
    CHECK(node.fact() == fact);
    CHECK_FALSE(node.cache.next_walk());
  }
  SUBCASE("the pod is another one of the same name") {
    KubeletPod next(node.sandbox, kDb, node.net.add("next").netns);
    node.add_object("web", kDb, node.net.at("next"));
    CHECK(node.fact()->cookie == node.net.cookie("next"));
  }
  SUBCASE("the object is gone") {
    node.snapshot.pods.clear();
    node.now += seconds(1);
    CHECK(node.cache.refresh(node.snapshot, "node-a").empty());
  }
}

TEST_CASE("netns facts: of several namespaces the one that owns the addresses; of none what it has instead") {
  Node node;
  const auto& web = node.net.add("web");
  const auto& inner = node.net.add("inner");
  node.add_object("web", kWeb, inner);
  KubeletPod pod(node.sandbox, kWeb, web.netns);
  pod.add_container();
  const auto scope = pod.next_scope();
  CHECK(node.fact()->cookie == node.net.cookie("web"));
  pod.add_process(scope, inner.netns);
  node.now += seconds(5);
  CHECK(node.fact()->cookie == node.net.cookie("inner"));

  // A container gives itself the pod's own addresses in a namespace that it made: the sandbox is older.
  run_ok({.argv = {"ip", "addr", "add", web.v4 + "/16", "dev", "eth0"}, .netns = inner.netns});
  run_ok({.argv = {"ip", "addr", "add", web.v6 + "/64", "dev", "eth0", "nodad"}, .netns = inner.netns});
  pod.add_process(scope, inner.netns);
  pod.add_process(scope, inner.netns);
  node.snapshot.pods.clear();
  node.cache.refresh(node.snapshot, "node-a");
  node.add_object("web", kWeb, web);
  CHECK(node.fact()->cookie == node.net.cookie("web"));

  // An address of nobody: that of the most processes says what it has, and it is looked for on.
  node.snapshot.pods.at({"shop", "web"}).ips = {IpAddress::parse("10.77.99.99").value()};
  auto fact = node.fact();
  CHECK(fact->cookie == node.net.cookie("inner"));
  CHECK(std::ranges::find(fact->addresses, ips_of(inner).front()) != fact->addresses.end());
  REQUIRE(node.cache.next_walk());
  run_ok({.argv = {"ip", "addr", "add", "10.77.99.99/16", "dev", "eth0"}, .netns = web.netns});
  node.now += seconds(5);
  CHECK(node.fact()->cookie == node.net.cookie("web"));
  CHECK_FALSE(node.cache.next_walk());
}

TEST_CASE("netns facts: a container that makes many namespaces has only the pod's oldest looked into") {
  Node node;
  const auto& web = node.net.add("web");
  const auto& last = node.net.add("last");
  node.add_object("web", kWeb, last);
  KubeletPod pod(node.sandbox, kWeb, web.netns);
  const auto scope = pod.next_scope();
  for (int i = 0; i < 16; ++i) pod.add_process(scope, node.net.add("n" + std::to_string(i)).netns);
  pod.add_process(scope, last.netns);
  CHECK(node.fact()->cookie != node.net.cookie("last"));
  node.add_object("web", kWeb, web);
  CHECK(node.fact()->cookie == node.net.cookie("web"));
}

TEST_CASE("netns facts: a sandbox that ends is noticed at once, however long its pod was looked for in vain") {
  Node node;
  const auto& web = node.net.add("web");
  const auto& next = node.net.add("next");
  node.add_object("web", kWeb, next);
  KubeletPod pod(node.sandbox, kWeb, web.netns);
  for (int i = 0; i < 6; ++i) {
    CHECK(node.fact()->cookie == node.net.cookie("web"));
    node.now += seconds(5);
  }
  node.fact();
  CHECK(node.cache.next_walk() > node.now + seconds(3));
  pod.recreate(next.netns);
  CHECK(node.fact()->cookie == node.net.cookie("next"));
}

TEST_CASE("netns facts: a namespace that is handed over counts until a process is found in it") {
  Node node;
  const auto& web = node.net.add("web");
  auto& object = node.add_object("web", kWeb, web);
  object.ips.clear();
  const auto cookie = node.net.cookie("web");
  const auto inode = inode_of(web.netns);
  const int before = held(inode);
  node.cache.hand_over(kWeb, open_file(web.netns, O_RDONLY), ips_of(web));
  auto fact = node.fact();
  REQUIRE_MESSAGE(fact, fact.error().message);
  CHECK(fact->cookie == cookie);
  CHECK(fact->announced == ips_of(web));
  CHECK(fact->path.starts_with("/proc/self/fd/"));
  CHECK(inode_of(fact->path) == inode);
  CHECK(held(inode) == before + 1);

  SUBCASE("then it is let go, and what was announced still counts") {
    KubeletPod pod(node.sandbox, kWeb, web.netns);
    fact = node.fact();
    CHECK(fact->path == ns_path(pod.pause()));
    CHECK(fact->cookie == cookie);
    CHECK(fact->announced == ips_of(web));
    CHECK(held(inode) == before);
    pod.stop();
    node.net.remove("web");
    CHECK(problem_of(node.fact()) == kNobody);
    CHECK_FALSE(lives(cookie));
  }
  SUBCASE("not for a process of the sandbox before") {
    KubeletPod pod(node.sandbox, kWeb, node.net.add("old").netns);
    CHECK(node.fact()->cookie == cookie);
    CHECK(held(inode) == before + 1);
  }
  SUBCASE("a new sandbox takes its place") {
    const auto& next = node.net.add("next");
    node.cache.hand_over(kWeb, open_file(next.netns, O_RDONLY), ips_of(next));
    CHECK(held(inode) == before);
    CHECK(node.fact()->cookie == node.net.cookie("next"));
    CHECK(node.fact()->announced == ips_of(next));
  }
  SUBCASE("an address comes") {
    run_ok({.argv = {"ip", "addr", "add", "10.77.99.99/16", "dev", "eth0"}, .netns = web.netns});
    node.now += seconds(10);
    const auto addresses = node.fact()->addresses;
    CHECK(std::ranges::find(addresses, IpAddress::parse("10.77.99.99").value()) != addresses.end());
  }
  SUBCASE("it is taken back") {
    node.cache.take_back(kWeb);
    CHECK(held(inode) == before);
    CHECK(problem_of(node.fact()) == kNobody);
  }
  SUBCASE("its pod is gone") {
    node.snapshot.pods.clear();
    node.cache.refresh(node.snapshot, "node-a");
    CHECK(held(inode) == before + 1);
    node.now += seconds(10);
    node.cache.refresh(node.snapshot, "node-a");
    CHECK(held(inode) == before);
  }
  SUBCASE("its pod has terminated") {
    object.terminated = true;
    node.now += seconds(10);
    CHECK(node.cache.refresh(node.snapshot, "node-a").empty());
    CHECK(held(inode) == before);
  }
  SUBCASE("nothing ever runs in it") {
    node.now += std::chrono::minutes(9);
    CHECK(node.fact()->cookie == cookie);
    node.now += std::chrono::minutes(1);
    CHECK(problem_of(node.fact()) == kNobody);
    CHECK(held(inode) == before);
  }
}

TEST_CASE("netns facts: a namespace that is handed over counts before one of a sandbox that still lives") {
  Node node;
  const auto& old = node.net.add("old");
  const auto& web = node.net.add("web");
  node.add_object("web", kWeb, old).ips.clear();
  KubeletPod pod(node.sandbox, kWeb, old.netns);
  CHECK(node.fact()->cookie == node.net.cookie("old"));
  const auto inode = inode_of(web.netns);
  const int before = held(inode);
  node.cache.hand_over(kWeb, open_file(web.netns, O_RDONLY), ips_of(web));
  CHECK(node.fact()->cookie == node.net.cookie("web"));
  const auto& pause = pod.add_process(pod.next_scope(), web.netns);
  CHECK(node.fact()->path == ns_path(pause));
  CHECK(held(inode) == before);
}

TEST_CASE("netns facts: what is handed over for a pod that is never heard of is let go") {
  Node node;
  const auto& web = node.net.add("web");
  const auto inode = inode_of(web.netns);
  const int before = held(inode);
  node.cache.hand_over(kWeb, open_file(web.netns, O_RDONLY), ips_of(web));
  node.now += std::chrono::minutes(9);
  node.cache.refresh(node.snapshot, "node-a");
  CHECK(held(inode) == before + 1);
  node.now += std::chrono::minutes(1);
  node.cache.refresh(node.snapshot, "node-a");
  CHECK(held(inode) == before);
}

TEST_CASE("netns facts: a pod that is seen first beside its process needs no handing over") {
  Node node;
  const auto& web = node.net.add("web");
  node.add_object("web", kWeb, web);
  KubeletPod pod(node.sandbox, kWeb, web.netns);
  const auto fact = node.fact();
  REQUIRE(fact);
  CHECK(fact->announced.empty());
}

}  // namespace
}  // namespace underpass::test
