// SPDX-License-Identifier: Apache-2.0
// Is there a moment at which the door stands open? Clients that are not allowed in, one of the mesh and one outside it,
// never stop trying, while the agent dies and comes back and what it is told changes.
#include <doctest/doctest.h>

#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "test/netns/policy/scene.h"
#include "test/support/netns.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

struct Success {
  Clock::time_point at;
  UniqueFd fd;
};

// Somebody in a pod who dials again and again, over both families in turn, and keeps what he got.
class Knocker {
 public:
  Knocker(const Place& from, const std::array<Address, 2>& to)
      : task_([this, netns = from.netns, to] {
          run_in_netns(netns, [&] {
            while (!stop_) knock(to[static_cast<std::size_t>(tries_++ % 2)]);
          });
        }) {}
  ~Knocker() { stop_ = true; }

  [[nodiscard]] int tries() const { return tries_.load(); }
  [[nodiscard]] int successes() const { return passed_.load(); }
  // Waits until it has tried so many times more.
  void let_try(int more) const {
    const int until = tries() + more;
    CHECK(eventually(seconds(30), [&] { return tries() >= until; }));
  }
  // Ends it, and hands out what it still holds.
  std::deque<Success> stop() {
    stop_ = true;
    task_.join();
    return std::move(successes_);
  }

 private:
  void knock(const Address& to) {
    UniqueFd fd(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{.tv_sec = 2, .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (::connect(fd.get(), to.get(), to.size) != 0) return;
    ++passed_;
    successes_.push_back({Clock::now(), std::move(fd)});
    if (successes_.size() > 200) successes_.pop_front();
  }

  std::atomic<bool> stop_ = false;
  std::atomic<int> tries_ = 0;
  std::atomic<int> passed_ = 0;
  std::deque<Success> successes_;
  Task task_;
};

// The server, with an application that takes whoever comes, and the two that knock.
class Siege {
 public:
  // `greets`: the server speaks first.
  explicit Siege(const Scene& scene, bool greets = false)
      : listeners_{listen_at(scene.at("b"), AF_INET), listen_at(scene.at("b"), AF_INET6)},
        to_{local_address(listeners_[0].get()), local_address(listeners_[1].get())},
        greets_(greets),
        server_([this] { serve(); }) {
    for (const char* name : {"evil", "out"}) knockers_.push_back(std::make_unique<Knocker>(scene.at(name), to_));
  }
  ~Siege() { stop_ = true; }

  [[nodiscard]] const Address& at(int family) const { return to_[family == AF_INET ? 0 : 1]; }
  void let_try(int more) const {
    for (const auto& knocker : knockers_) knocker->let_try(more);
  }
  [[nodiscard]] int successes() const {
    int sum = 0;
    for (const auto& knocker : knockers_) sum += knocker->successes();
    return sum;
  }
  // Connections of which the server was told that it must not speak.
  [[nodiscard]] int barred() const { return barred_; }
  std::vector<Success> stop() {
    std::vector<Success> out;
    for (const auto& knocker : knockers_)
      for (Success& one : knocker->stop()) out.push_back(std::move(one));
    return out;
  }

 private:
  void serve() {
    while (!stop_) {
      std::array<pollfd, 2> waiting{{{listeners_[0].get(), POLLIN, 0}, {listeners_[1].get(), POLLIN, 0}}};
      if (::poll(waiting.data(), waiting.size(), 20) <= 0) continue;
      for (const pollfd& one : waiting)
        if (one.revents != 0) take(one.fd);
      // Those that the other side has closed.
      if (taken_.size() > 1000)
        std::erase_if(taken_, [](const auto& fd) { return readable(fd.get(), milliseconds(0)); });
    }
  }

  void take(int listener) {
    taken_.push_back(accept_from(listener));
    if (greets_ && ::send(taken_.back().get(), "x", 1, MSG_NOSIGNAL) != 1 && errno == EACCES) ++barred_;
  }

  std::array<UniqueFd, 2> listeners_;
  std::array<Address, 2> to_;
  const bool greets_;
  std::atomic<int> barred_ = 0;
  std::atomic<bool> stop_ = false;
  std::vector<UniqueFd> taken_;
  Task server_;
  std::vector<std::unique_ptr<Knocker>> knockers_;
};

// Nobody came in, and the one who may still can.
void check_held(const Scene& scene, Siege& siege) {
  siege.let_try(200);
  CHECK(siege.stop().empty());
  for (const int family : kFamilies) CHECK(dial(scene.at("web"), siege.at(family)).empty());
}

TEST_CASE("windows: the agent is killed and started again, five times") {
  Scene scene("on");
  Siege siege(scene);
  for (int i = 0; i < 5; ++i) {
    siege.let_try(100);
    scene.world.agent.kill9();
    siege.let_try(100);
    scene.world.agent.start();
    CHECK(siege.successes() == 0);
  }
  check_held(scene, siege);
}

TEST_CASE("windows: the agent is killed at any moment of its start") {
  Scene scene("on");
  Siege siege(scene);
  for (int i = 0; i < 15; ++i) {
    scene.world.agent.launch();  // kills the one before
    (void)eventually(milliseconds(20 * i), [&] { return !scene.world.agent.running(); });
  }
  scene.world.agent.start();
  check_held(scene, siege);
}

TEST_CASE("windows: policies are written anew, with other words and the same meaning for who knocks") {
  const Scene scene("on");
  Siege siege(scene);
  for (int i = 0; i < 30; ++i) {
    scene.world.objects.put_text("policy.yaml", allow_accounts("\"web\", \"other" + std::to_string(i) + '"'));
    siege.let_try(50);
    CHECK(siege.successes() == 0);
  }
  // Another file, and the first one goes.
  for (int i = 0; i < 10; ++i) {
    scene.world.objects.put_text(
        "second.yaml",
        policy_of("second",
                  R"({"action": "DENY", "rules": [{"from": [{"source": {"notServiceAccounts": ["web"]}}]}]})"));
    REQUIRE(eventually(seconds(5), [&] { return scene.world.ctl.json({"policies"}).as_array().size() == 2; }));
    scene.world.objects.remove_text("policy.yaml");
    REQUIRE(eventually(seconds(5), [&] { return scene.world.ctl.json({"policies"}).as_array().size() == 1; }));
    scene.world.objects.put_text("policy.yaml", allow_account("web"));
    REQUIRE(eventually(seconds(5), [&] { return scene.world.ctl.json({"policies"}).as_array().size() == 2; }));
    scene.world.objects.remove_text("second.yaml");
    CHECK(siege.successes() == 0);
  }
  check_held(scene, siege);
}

TEST_CASE("windows: the folder holds garbage for a while, and the agent starts over it") {
  Scene scene("on");
  Siege siege(scene);
  const std::string good = allow_account("web");
  for (const std::string& bad :
       {std::string("{{{ : not YAML"), good.substr(0, good.size() / 2), std::string(3, '\0') + good,
        policy_of("who", R"({"action": "ALLOW", "rules": [{"form": []}]})"), policy_of("who", R"({"action": "MAYBE"})"),
        std::string("- 1\n- 2\n")}) {
    INFO(bad);
    scene.world.objects.put_text("policy.yaml", bad);
    scene.world.objects.put_text("zz-garbage.yaml", "kind: [\n");
    siege.let_try(200);
    REQUIRE(eventually(seconds(5), [&] { return scene.world.agent.log().contains("zz-garbage"); }));
    CHECK(siege.successes() == 0);
    scene.world.objects.put_text("policy.yaml", good);
    scene.world.objects.remove_text("zz-garbage.yaml");
    siege.let_try(50);
    CHECK(siege.successes() == 0);
  }
  check_held(scene, siege);
}

TEST_CASE("windows: the pod that knocks joins the mesh and leaves it, and changes its account") {
  const Scene scene("on");
  Siege siege(scene);
  for (int i = 0; i < 10; ++i) {
    scene.put("evil", "evil", {.mesh = "disabled"});
    scene.world.wait_not_enrolled("shop", "evil");
    siege.let_try(50);
    scene.put("evil", i % 2 == 0 ? "evil" : "other");
    scene.world.wait_enrolled("shop", "evil", "");
    siege.let_try(50);
    CHECK(siege.successes() == 0);
  }
  check_held(scene, siege);
}

// A door that is open before the policy is gone lets in whom the other side then breaks.
TEST_CASE("windows: when a policy goes, who comes in stays in") {
  const Scene scene("on");
  for (int i = 0; i < 40; ++i) {
    Siege siege(scene, true);
    siege.let_try(20);
    scene.world.objects.remove_text("policy.yaml");
    REQUIRE(eventually(seconds(5), [&] { return siege.successes() > 100; }));
    CHECK(siege.barred() == 0);
    scene.allow("web");
  }
}

// As after a reboot, but that the pods are there already.
void lose_everything(Scene& scene, Siege& siege) {
  scene.world.agent.stop();
  std::filesystem::remove_all(scene.world.sandbox.pins());
  const int before = siege.successes();
  REQUIRE(eventually(seconds(10), [&] { return siege.successes() > before + 100; }));  // it is open, indeed
}

TEST_CASE("windows: once an agent is ready again after all pins were lost, nobody comes in") {
  Scene scene("on");
  Siege siege(scene);
  Clock::time_point ready;
  for (int i = 0; i < 3; ++i) {
    lose_everything(scene, siege);
    scene.world.agent.start();
    ready = Clock::now();
    siege.let_try(300);
  }
  int late = 0;
  for (const Success& one : siege.stop()) late += one.at > ready ? 1 : 0;
  CHECK(late == 0);
}

TEST_CASE("windows: what came in while there was no agent is cut when there is one again") {
  Scene scene("on");
  Siege siege(scene);
  lose_everything(scene, siege);
  scene.world.agent.start();
  const std::vector<Success> got = siege.stop();
  CHECK(got.size() > 100);
  std::size_t open = 0;
  CHECK(eventually(seconds(5), [&] {
    open = static_cast<std::size_t>(
        std::ranges::count_if(got, [](const Success& one) { return !hangs_up(one.fd.get(), milliseconds(0)); }));
    return open == 0;
  }));
  CHECK(open == 0);
  CHECK(std::ranges::count_if(got,
                              [](const Success& one) { return !ends_with_error(one.fd.get(), milliseconds(0)); }) == 0);
}

}  // namespace
}  // namespace underpass::test
