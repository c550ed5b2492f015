// SPDX-License-Identifier: Apache-2.0
// Maps that an agent with the layout before this one has pinned: a new agent fills its own and puts them in their
// place, and at no moment may somebody through who must not, or is somebody refused who may.
#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>

#include "test/netns/policy/scene.h"
#include "test/support/eventually.h"

namespace underpass::test {
namespace {

// A dial that is on its way while the programs are replaced, some microseconds, may be refused: its source stands in
// the one agent's map, and the server's door looks into the other's.
constexpr int kInThatMoment = 3;

// As if the agent that has just ended had been of the layout before: its programs do not look at that word.
void make_previous(const Scene& scene) {
  up_config config = scene.world.pinned.config();
  config.layout = UP_LAYOUT - 1;
  scene.world.pinned.set_config(config);
}

bool has_previous(const Scene& scene) {
  for (const auto& entry : std::filesystem::directory_iterator(scene.world.sandbox.pins()))
    if (entry.path().string().ends_with("_previous")) return true;
  return false;
}

// Dials the server over and over, as both of its callers.
class Callers {
 public:
  explicit Callers(const Scene& scene)
      : scene_(scene), listener_(listen_at(scene.at("b"), AF_INET)), to_(local_address(listener_.get())) {
    allowed_ = std::thread([this] { call(scene_.at("web"), refused_); });
    evil_ = std::thread([this] { call(scene_.at("evil"), kept_out_); });
    server_ = std::thread([this] { accept(); });
  }
  ~Callers() { stop(); }
  Callers(const Callers&) = delete;
  Callers& operator=(const Callers&) = delete;

  void stop() {
    over_ = true;
    for (auto* thread : {&allowed_, &evil_, &server_})
      if (thread->joinable()) thread->join();
  }
  [[nodiscard]] int refused() const { return refused_; }                // of those that may
  [[nodiscard]] int let_in() const { return evil_calls_ - kept_out_; }  // of those that may not
  [[nodiscard]] int calls() const { return calls_ - evil_calls_; }
  [[nodiscard]] int evil_calls() const { return evil_calls_; }

 private:
  void call(const Place& from, std::atomic<int>& failed) {
    while (!over_) {
      const bool is_refused = !dial(from, to_).empty();
      if (&failed == &kept_out_) ++evil_calls_;
      if (is_refused) ++failed;
      ++calls_;
    }
  }
  void accept() {
    while (!over_) {
      try {
        (void)accept_from(listener_.get(), milliseconds(200));
      } catch (const std::runtime_error&) {
        continue;
      }
    }
  }

  const Scene& scene_;
  UniqueFd listener_;
  Address to_;
  std::atomic<bool> over_ = false;
  std::atomic<int> refused_ = 0, kept_out_ = 0, calls_ = 0, evil_calls_ = 0;
  std::thread allowed_, evil_, server_;
};

TEST_CASE("pinned maps of the layout before: taken over without a gap, and what was short-circuited goes on as TCP") {
  Scene scene("on");
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  const UniqueFd client = connect_from(scene.at("web"), local_address(listener.get()));
  const UniqueFd server = accept_from(listener.get());
  exchange(client.get(), server.get());
  REQUIRE(scene.world.redirected() > 0);
  scene.world.agent.stop();
  make_previous(scene);
  const auto before = scene.world.pinned.program_ids();

  Callers callers(scene);
  std::this_thread::sleep_for(milliseconds(500));
  scene.world.agent.launch();
  CHECK(eventually(seconds(30), [&] { return scene.world.agent.log().contains("pins-migrated"); }));
  exchange(client.get(), server.get());
  std::this_thread::sleep_for(seconds(2));
  callers.stop();
  CHECK(callers.refused() <= kInThatMoment);
  CHECK(callers.let_in() == 0);
  CHECK(callers.calls() > 100);
  CHECK(callers.evil_calls() > 100);
  CHECK(scene.world.pinned.config().layout == UP_LAYOUT);
  CHECK_FALSE(has_previous(scene));
  // Nothing that is attached works on maps of the agent before.
  for (const auto id : scene.world.pinned.program_ids()) CHECK_FALSE(before.contains(id));
  exchange(client.get(), server.get());
  CHECK(way_of_new_connection(scene.world, scene.at("web"), scene.at("b")) == "short-circuit");
  CHECK(is_refused(scene.at("evil"), local_address(listener.get())));
  // And again, as if nothing had been.
  scene.world.agent.stop();
  scene.world.agent.start();
  CHECK(way_of_new_connection(scene.world, scene.at("web"), scene.at("b")) == "short-circuit");
}

TEST_CASE("pinned maps of the layout before: the agent is killed in the middle, whenever that is") {
  Scene scene("off");
  scene.world.agent.stop();
  make_previous(scene);
  Callers callers(scene);
  for (int pause = 100; pause < 5000; pause = pause * 3 / 2) {
    scene.world.agent.launch();
    std::this_thread::sleep_for(milliseconds(pause));
    scene.world.agent.kill9();
  }
  scene.world.agent.start();
  CHECK(
      eventually(seconds(30), [&] { return scene.world.pinned.config().layout == UP_LAYOUT && !has_previous(scene); }));
  std::this_thread::sleep_for(seconds(3));
  callers.stop();
  CHECK(callers.refused() <= kInThatMoment);
  CHECK(callers.let_in() == 0);
  CHECK(scene.world.agent.log().contains("pins-migrated"));
}

TEST_CASE("pinned maps of the layout before: a pod with a policy ended while no agent was there") {
  Scene scene("off");
  REQUIRE(scene.world.pinned.any());
  scene.world.agent.stop();
  scene.world.net.remove("a");
  scene.world.objects.remove_pod("shop", "a");
  make_previous(scene);
  scene.world.agent.launch();
  CHECK(eventually(seconds(30), [&] { return scene.world.agent.log().contains("pins-migrated"); }));
  CHECK_FALSE(has_previous(scene));
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  CHECK(is_refused(scene.at("evil"), local_address(listener.get())));
  CHECK(dial(scene.at("web"), local_address(listener.get())).empty());
}

TEST_CASE("pinned maps of the layout before: a node is taken out of the mesh with them") {
  Scene scene("on");
  scene.world.agent.stop();
  make_previous(scene);
  CHECK(scene.world.ctl.run({"detach"}).exit.ok());
  CHECK_FALSE(scene.world.pinned.any());
  CHECK(scene.world.ctl.run({"attach"}).exit.ok());
  scene.world.agent.start();
  CHECK(scene.world.pinned.config().layout == UP_LAYOUT);
}

}  // namespace
}  // namespace underpass::test
