// SPDX-License-Identifier: Apache-2.0
// The guards at the doors of pods share one program, and a place in memory where each says whose door it is.
#include <bpf/bpf.h>
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "test/netns/policy/scene.h"

namespace underpass::test {
namespace {

// For the pod "c" alone: everybody may.
std::string open_for_c() {
  return policy_of("open", R"({"selector": {"matchLabels": {"pod": "c"}}, "action": "ALLOW", "rules": [{}]})");
}

class TwoDoors {
 public:
  TwoDoors() {
    scene.world.net.add("c");
    PodObject c = scene.world.pod_object("shop", "c");
    c.labels = {{"pod", "c"}};
    scene.world.objects.put(c);
    scene.world.wait_enrolled("shop", "c", "off");
    scene.world.objects.put_text("open.yaml", open_for_c());
    closed = listen_at(scene.at("b"), AF_INET);
    open = listen_at(scene.at("c"), AF_INET);
    REQUIRE(eventually(seconds(10), [&] { return dial(scene.at("out"), local_address(open.get())).empty(); }));
    REQUIRE(is_refused(scene.at("out"), local_address(closed.get())));
  }

  Scene scene;
  UniqueFd closed;
  UniqueFd open;
};

TEST_CASE("door: packets for two pods at the same time are each judged as their own pod's") {
  constexpr int kDials = 400;
  const TwoDoors doors;
  const Place& from = doors.scene.at("out");
  std::atomic<int> let_in{0}, kept_out{0};
  std::vector<std::jthread> dialling;
  for (int i = 0; i < 2; ++i) {
    dialling.emplace_back([&] {
      for (int n = 0; n < kDials; ++n) {
        if (!dial(from, local_address(doors.open.get())).empty()) continue;
        (void)accept_from(doors.open.get());
        ++let_in;
      }
    });
    dialling.emplace_back([&] {
      for (int n = 0; n < kDials; ++n) kept_out += is_refused(from, local_address(doors.closed.get())) ? 1 : 0;
    });
  }
  dialling.clear();
  CHECK(let_in == 2 * kDials);
  CHECK(kept_out == 2 * kDials);
}

TEST_CASE("door: with nothing behind it, it is shut") {
  TwoDoors doors;
  doors.scene.world.agent.kill9();
  REQUIRE(dial(doors.scene.at("out"), local_address(doors.open.get())).empty());
  const UniqueFd inbounds = open_pinned_map(doors.scene.world.sandbox.pins() / "up_inbounds");
  const __u32 only = 0;
  REQUIRE(::bpf_map_delete_elem(inbounds.get(), &only) == 0);
  CHECK(is_refused(doors.scene.at("out"), local_address(doors.open.get())));
  // The next agent puts its own program there.
  doors.scene.world.agent.start();
  CHECK(dial(doors.scene.at("out"), local_address(doors.open.get())).empty());
  CHECK(is_refused(doors.scene.at("out"), local_address(doors.closed.get())));
}

}  // namespace
}  // namespace underpass::test
