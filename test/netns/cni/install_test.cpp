// SPDX-License-Identifier: Apache-2.0
// Installing and removing on a node whose runtime starts and ends pods all the time, and beside an owner who writes the
// list again and again: no pod is ever refused.
#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/cni/installer.h"
#include "test/netns/cni/scene.h"

namespace underpass::test {
namespace {

// Pods that come and go on a thread of their own, until stop().
class PodChurn {
 public:
  PodChurn(CniNode& node, CniRuntime::EndsBy by)
      : node_(node), by_(by), pod_(node.new_netns()), thread_([this] { churn(); }) {}
  ~PodChurn() { stop(); }
  PodChurn(const PodChurn&) = delete;
  PodChurn& operator=(const PodChurn&) = delete;

  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Waits for so many more.
  void wait_for(int count) const {
    const int goal = rounds_ + count;
    REQUIRE(eventually(seconds(60), [&] { return rounds_ >= goal || !failure().empty(); }));
  }
  [[nodiscard]] std::string failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  [[nodiscard]] int rounds() const { return rounds_; }

 private:
  void churn() {
    try {
      while (!stop_) {
        const auto sandbox = node_.sandbox(pod_);
        note("ADD", node_.runtime().add(sandbox));
        note("DEL", node_.runtime().del(sandbox, by_));
        ++rounds_;
      }
    } catch (const std::exception& problem) {
      note("runtime", {.message = problem.what()});
    }
  }
  void note(const std::string& what, const CniOutcome& outcome) {
    if (outcome.ok) return;
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = what + " " + outcome.plugin + ": " + outcome.message;
  }

  CniNode& node_;
  CniRuntime::EndsBy by_;
  Netns pod_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> rounds_ = 0;
  mutable std::mutex mutex_;
  std::string failure_;
  std::thread thread_;
};

class RunningInstaller {
 public:
  explicit RunningInstaller(const CniNode& node) {
    installer_ = io_.run([&] { return cni::Installer::start(io_.io, node.options(), [] {}); });
  }
  ~RunningInstaller() {
    io_.run([this] {
      installer_.reset();
      return true;
    });
  }
  RunningInstaller(const RunningInstaller&) = delete;
  RunningInstaller& operator=(const RunningInstaller&) = delete;

  [[nodiscard]] std::string problem() {
    return io_.run([this] { return installer_->problem(); });
  }

 private:
  IoThread io_;
  std::unique_ptr<cni::Installer> installer_;
};

bool names_us(const CniNode& node) { return read_file(node.list_file()).find("underpass-cni") != std::string::npos; }

TEST_CASE("cni install: no pod is refused while the plugin comes and goes") {
  CniNode node;
  const CniAgent agent(node.socket(), kYes);
  std::vector<std::unique_ptr<PodChurn>> churns;
  churns.push_back(std::make_unique<PodChurn>(node, CniRuntime::EndsBy::kMadeWith));
  churns.push_back(std::make_unique<PodChurn>(node, CniRuntime::EndsBy::kToday));
  for (int round = 0; round < 4; ++round) {
    const auto state = cni::install_now(node.options());
    CHECK_MESSAGE(state.in_place, state.problem);
    for (const auto& churn : churns) churn->wait_for(2);
    const auto removal = cni::uninstall(node.options());
    CHECK_MESSAGE(removal, removal.error().message);
    for (const auto& churn : churns) churn->wait_for(2);
  }
  for (const auto& churn : churns) {
    churn->stop();
    CHECK(churn->failure() == "");
  }
  CHECK(agent.asked().size() >= 16);
  const auto removal = cni::uninstall(node.options());
  REQUIRE(removal);
  CHECK(removal->left == "");
  CHECK(read_file(node.list_file()) == node.list());
  CHECK_FALSE(fs::exists(node.root() / "bin/underpass-cni"));
}

// An owner who takes our entry out whenever it is there.
class Owner {
 public:
  Owner(const CniNode& node, std::function<void(const std::string&)> write)
      : thread_([this, &node, write = std::move(write)] {
          while (!stop_) {
            if (!eventually(milliseconds(100), [&] { return names_us(node); })) continue;
            write(node.list());
            ++writes_;
          }
        }) {}
  ~Owner() { stop(); }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] int writes() const { return writes_; }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int> writes_ = 0;
  std::thread thread_;
};

void check_fight(CniNode& node, std::function<void(const std::string&)> write) {
  const CniAgent agent(node.socket(), kYes);
  RunningInstaller installer(node);
  REQUIRE(installer.problem() == "");
  PodChurn churn(node, CniRuntime::EndsBy::kToday);
  Owner owner(node, std::move(write));
  CHECK(
      eventually(seconds(20), [&] { return installer.problem().find("another program undoes") != std::string::npos; }));
  const int before = owner.writes();
  churn.wait_for(5);
  CHECK(owner.writes() <= before + 5);
  owner.stop();
  CHECK(eventually(seconds(20), [&] { return names_us(node); }));
  churn.wait_for(2);
  churn.stop();
  CHECK(churn.failure() == "");
  REQUIRE(cni::uninstall(node.options()));
  CHECK(read_file(node.list_file()) == node.list());
}

TEST_CASE("cni install: beside an owner who renames a new list over ours, as Calico does, no pod is refused") {
  CniNode node;
  check_fight(node, [&](const std::string& text) { write_atomically(node.list_file(), text); });
}

TEST_CASE("cni install: beside an owner who writes the list in place, as flannel does, no pod is refused") {
  CniNode node;
  check_fight(node, [&](const std::string& text) { std::ofstream(node.list_file()) << text; });
}

}  // namespace
}  // namespace underpass::test
