// SPDX-License-Identifier: Apache-2.0
// When pods without a network namespace are looked for, over a /proc without processes. What is found of real ones:
// test/netns/pods.
#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>

#include "agent/dataplane/netns_facts.h"
#include "test/support/temp_folder.h"

namespace underpass::dataplane {
namespace {

using std::chrono::milliseconds;
using Time = NetnsFactCache::Clock::time_point;

const std::string kUid = "2c48913c-b29f-11e7-9350-020968147796";

struct World {
  test::TempFolder proc;
  Time now{std::chrono::hours(1)};
  NetnsFactCache cache{PodFinder(proc.path()), [this] { return now; }};
  model::Snapshot snapshot;

  model::Pod& add(const std::string& name, const std::string& uid = kUid) {
    auto& pod = snapshot.pods[{"shop", name}];
    pod.id = {"shop", name};
    pod.node_name = "node-a";
    pod.uid = pod.cgroup_uid = uid;
    return pod;
  }
  compile::NetnsFacts refresh() { return cache.refresh(snapshot, "node-a"); }
  // How long until the next walk, if one is awaited.
  std::optional<milliseconds> pause() {
    refresh();
    const auto next = cache.next_walk();
    return next ? std::optional(std::chrono::duration_cast<milliseconds>(*next - now)) : std::nullopt;
  }
};

TEST_CASE("netns facts: which pods are looked for, and which have no fact") {
  World world;
  CHECK_FALSE(world.cache.next_walk());
  CHECK(world.refresh().empty());
  world.add("host").host_network = true;
  world.add("done").terminated = true;
  world.add("nameless", "");
  world.add("far").node_name = "node-b";
  CHECK(world.refresh().empty());
  CHECK_FALSE(world.cache.next_walk());

  world.add("named").netns_path = (world.proc / "none").string();
  auto facts = world.refresh();
  REQUIRE(facts.size() == 1);
  CHECK(facts.at({"shop", "named"}).error().message ==
        "network namespace " + (world.proc / "none").string() + ": No such file or directory");
  CHECK_FALSE(world.cache.next_walk());

  world.add("web");
  facts = world.refresh();
  REQUIRE(facts.size() == 2);
  CHECK(facts.at({"shop", "web"}).error().message == "no process of the pod was found on this node (UID " + kUid + ")");
  CHECK(world.cache.next_walk().has_value());
}

TEST_CASE("netns facts: in vain, a pod is looked for less and less often; at once again when its object changes") {
  World world;
  world.add("web");
  for (const int expected : {200, 400, 800, 1600, 3200, 5000, 5000}) {
    CHECK(world.pause() == milliseconds(expected));
    world.now += milliseconds(expected - 1);
    CHECK(world.pause() == milliseconds(1));
    world.now += milliseconds(1);
  }
  world.refresh();
  world.now += milliseconds(1000);
  CHECK(world.pause() == milliseconds(4000));
  world.add("web").labels["a"] = "b";
  CHECK(world.pause() == milliseconds(200));
  world.snapshot.pods.clear();
  CHECK(world.pause() == std::nullopt);
}

TEST_CASE("netns facts: new pods in quick succession share walks") {
  World world;
  world.add("a");
  CHECK(world.pause() == milliseconds(200));
  world.now += milliseconds(150);
  world.add("b");
  CHECK(world.pause() == milliseconds(50));
  world.now += milliseconds(50);
  // Both were looked for now, "a" for the second time.
  CHECK(world.pause() == milliseconds(200));
  world.snapshot.pods.erase({"shop", "b"});
  CHECK(world.pause() == milliseconds(400));
  // A walk for another does not put "a" off.
  world.now += milliseconds(400);
  CHECK(world.pause() == milliseconds(800));
  world.now += milliseconds(400);
  world.add("c");
  CHECK(world.pause() == milliseconds(200));
  world.snapshot.pods.erase({"shop", "c"});
  CHECK(world.pause() == milliseconds(400));
}

TEST_CASE("netns facts: what is handed over for a pod is looked for at once") {
  World world;
  world.add("web");
  for (int i = 0; i < 10; ++i) {
    world.refresh();
    world.now += milliseconds(5000);
  }
  world.refresh();
  world.now += milliseconds(1000);
  CHECK(world.pause() == milliseconds(4000));
  world.cache.hand_over(kUid, UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)), {});
  CHECK(world.pause() == milliseconds(200));
}

}  // namespace
}  // namespace underpass::dataplane
