// SPDX-License-Identifier: Apache-2.0
// What pods are seen to do, and what follows for their workload.
#include "agent/learn/workloads.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace underpass::learn {
namespace {

const Workload kWeb{.ns = "shop", .owner = "Deployment/web", .images = {"web:1"}};
const Workload kDb{.ns = "shop", .owner = "StatefulSet/db", .images = {"db:1"}};

constexpr std::uint64_t kSecond = 1'000'000'000;

up_habits seen(std::uint64_t connections, std::uint64_t reads, std::uint64_t traits = 0) {
  return {.traits = traits, .first_read_ns = reads != 0 ? kSecond : 0, .reads = reads, .connections = connections};
}

// The rows of up_habits and the clock; a pod is a cookie.
struct Node {
  std::map<NetnsCookie, Workload> pods;
  std::map<NetnsCookie, up_habits> habits;
  Now now{.monotonic_ns = kSecond, .wall = "2026-03-01T09:30:00.125Z"};
  Workloads workloads;

  Observed observe() { return workloads.observe(pods, habits, now); }
  void join(NetnsCookie cookie, const Workload& workload) {
    pods[cookie] = workload;
    habits[cookie] = {};
    CHECK(observe().changes.empty());
  }
  State state(const Workload& workload = kWeb) { return workloads.verdict_of(workload).state; }
};

Node node_with_web() {
  Node node;
  node.join(1, kWeb);
  return node;
}

TEST_CASE("learn: enough connections and reads without a trait") {
  struct Row {
    std::uint64_t connections, reads;
    State state;
  };
  for (const auto& row : {Row{0, 0, State::kLearning}, Row{8, 31, State::kLearning}, Row{7, 500, State::kLearning},
                          Row{8, 32, State::kOn}, Row{9, 1000, State::kOn}}) {
    Node node = node_with_web();
    node.habits[1] = seen(row.connections, row.reads);
    const auto observed = node.observe();
    CHECK(node.state() == row.state);
    CHECK(observed.changes.size() == (row.state == State::kOn ? 1 : 0));
    CHECK(observed.to_reset.empty());
    CHECK(node.workloads.unsaved() == (row.state == State::kOn));
  }
}

TEST_CASE("learn: few connections, when they have been read for a while") {
  Node node = node_with_web();
  node.now.monotonic_ns = 5 * kSecond;
  node.habits[1] = seen(1, 8);  // first read at 1 s
  node.observe();
  CHECK(node.state() == State::kLearning);
  node.now.monotonic_ns = 11 * kSecond - 1;
  node.observe();
  CHECK(node.state() == State::kLearning);
  SUBCASE("ten seconds") {
    node.now.monotonic_ns = 11 * kSecond;
    node.observe();
    CHECK(node.state() == State::kOn);
  }
  SUBCASE("too few reads") {
    node.workloads.forget(kWeb);
    node.habits[1] = {};
    node.observe();
    node.habits[1] = seen(1, 7);
    node.now.monotonic_ns = 60 * kSecond;
    node.observe();
    CHECK(node.state() == State::kLearning);
  }
  SUBCASE("time without a pod does not count") {
    node.pods.clear();
    node.now.monotonic_ns = 60 * kSecond;
    CHECK(node.observe().changes.empty());
    CHECK(node.state() == State::kLearning);
  }
}

TEST_CASE("learn: one trait is enough, for good") {
  Node node = node_with_web();
  node.habits[1] = seen(100, 1000, UP_TRAIT(UP_WHY_SPLICE) | UP_TRAIT(UP_WHY_WAITALL));
  const auto observed = node.observe();
  REQUIRE(observed.changes.size() == 1);
  CHECK(observed.changes[0].workload == kWeb);
  CHECK(observed.changes[0].verdict.state == State::kOff);
  CHECK(observed.changes[0].verdict.traits == std::vector<std::string>{"waitall", "splice"});
  CHECK(observed.changes[0].verdict.since == node.now.wall);
  CHECK_FALSE(observed.changes[0].late);
  CHECK(node.workloads.late()[UP_WHY_SPLICE] == 0);

  node.habits[1] = seen(200, 2000);
  CHECK(node.observe().changes.empty());
  node.join(2, kWeb);
  CHECK(node.state() == State::kOff);
}

TEST_CASE("learn: a trait of one pod outweighs what others do") {
  Node node = node_with_web();
  node.join(2, kWeb);
  node.habits[1] = seen(100, 1000);
  node.habits[2] = seen(0, 0, UP_TRAIT(UP_WHY_BLOCKING));
  CHECK(node.observe().changes.size() == 1);
  CHECK(node.state() == State::kOff);
}

TEST_CASE("learn: late, after it was on") {
  Node node = node_with_web();
  node.habits[1] = seen(8, 32);
  node.observe();
  REQUIRE(node.state() == State::kOn);
  node.workloads.saved();
  node.habits[1] = seen(80, 320);
  CHECK(node.observe().changes.empty());
  CHECK(node.workloads.verdict_of(kWeb).connections == 8);  // what was enough
  CHECK_FALSE(node.workloads.unsaved());

  node.habits[1] = seen(80, 320, UP_TRAIT(UP_WHY_FIONREAD));
  const auto observed = node.observe();
  REQUIRE(observed.changes.size() == 1);
  CHECK(observed.changes[0].late);
  CHECK(node.state() == State::kOff);
  CHECK(node.workloads.late()[UP_WHY_FIONREAD] == 1);
  CHECK(node.workloads.unsaved());
  node.observe();
  CHECK(node.workloads.late()[UP_WHY_FIONREAD] == 1);
}

TEST_CASE("learn: bits that we have no name for are not traits") {
  static_assert(UP_WHY_COUNT < 64);
  Node node = node_with_web();
  node.habits[1] = seen(1, 1, ~(UP_TRAIT(UP_WHY_COUNT) - 1));
  CHECK(node.observe().changes.empty());
  CHECK(node.state() == State::kLearning);
}

TEST_CASE("learn: the pods of a workload count together, those that left too") {
  Node node = node_with_web();
  node.join(2, kWeb);
  node.join(3, kDb);
  node.habits = {{1, seen(3, 10)}, {2, seen(2, 10)}, {3, seen(1, 1)}};
  node.observe();
  node.pods.erase(2);
  node.habits[2] = seen(4, 15);  // its last second
  node.observe();
  node.habits.erase(2);
  node.observe();
  CHECK(node.workloads.verdict_of(kWeb).connections == 7);
  CHECK(node.workloads.verdict_of(kWeb).reads == 25);
  CHECK(node.workloads.verdict_of(kDb).connections == 1);
  node.join(4, kWeb);
  node.habits[4] = seen(1, 7);
  node.observe();
  CHECK(node.state(kWeb) == State::kOn);
  CHECK(node.state(kDb) == State::kLearning);
}

TEST_CASE("learn: nothing counts twice") {
  Node node = node_with_web();
  node.habits[1] = seen(3, 10);
  node.observe();
  SUBCASE("a row that was not met on a walk over the map") {
    node.habits.clear();
    node.observe();
    node.habits[1] = seen(3, 10);
  }
  SUBCASE("a pod that left and came back before its row was gone") {
    node.pods.erase(1);
    node.observe();
    node.pods[1] = kWeb;
  }
  node.observe();
  CHECK(node.workloads.verdict_of(kWeb).connections == 3);
  CHECK(node.workloads.verdict_of(kWeb).reads == 10);
}

TEST_CASE("learn: a row that was made anew counts from zero") {
  Node node = node_with_web();
  node.habits[1] = seen(3, 10);
  node.observe();
  node.habits[1] = seen(1, 4);
  node.observe();
  CHECK(node.workloads.verdict_of(kWeb).connections == 4);
  CHECK(node.workloads.verdict_of(kWeb).reads == 14);
}

TEST_CASE("learn: what was counted before a pod is first seen does not count, its traits do") {
  Node node;
  node.pods = {{1, kWeb}, {2, kDb}};
  node.habits = {{1, seen(100, 1000)}, {2, seen(100, 1000, UP_TRAIT(UP_WHY_SPLICE))}};
  node.observe();
  CHECK(node.state(kWeb) == State::kLearning);
  CHECK(node.state(kDb) == State::kOff);
  node.now.monotonic_ns = 100 * kSecond;
  node.habits[1] = seen(101, 1008);
  node.observe();
  CHECK(node.workloads.verdict_of(kWeb).reads == 8);
  CHECK(node.state(kWeb) == State::kLearning);  // its first read is not that of 99 s ago
  node.now.monotonic_ns = 110 * kSecond;
  node.observe();
  CHECK(node.state(kWeb) == State::kOn);
}

TEST_CASE("learn: another image is another workload, and starts with a row of its own") {
  Workload newer = kWeb;
  newer.images = {"web:2"};
  Node node = node_with_web();
  node.habits[1] = seen(7, 31);
  node.observe();

  node.pods[1] = newer;  // in place
  node.habits[1] = seen(8, 32, UP_TRAIT(UP_WHY_SPLICE));
  const auto observed = node.observe();
  CHECK(observed.to_reset == std::vector<NetnsCookie>{1});
  CHECK(node.state(kWeb) == State::kOff);  // what was seen before is the old image's
  CHECK(node.state(newer) == State::kLearning);

  node.habits[1] = {};
  CHECK(node.observe().to_reset.empty());
  node.habits[1] = seen(8, 32);
  node.observe();
  CHECK(node.state(newer) == State::kOn);
}

TEST_CASE("learn: starting over") {
  Node node = node_with_web();
  CHECK(node.workloads.forget(kDb) == Verdict{});
  CHECK_FALSE(node.workloads.unsaved());
  node.habits[1] = seen(1, 1, UP_TRAIT(UP_WHY_URGENT));
  node.observe();
  node.workloads.saved();
  CHECK(node.workloads.forget(kWeb).state == State::kOff);
  CHECK(node.workloads.unsaved());
  CHECK(node.workloads.decided().empty());
  node.habits[1] = {};
  node.observe();
  CHECK(node.workloads.verdict_of(kWeb) == Verdict{});
  node.habits[1] = seen(8, 32);
  node.observe();
  CHECK(node.state() == State::kOn);
}

TEST_CASE("learn: what is remembered is in force before any pod is seen") {
  const std::vector<Remembered> kept{
      {.workload = kWeb,
       .verdict = {.state = State::kOff, .traits = {"of-the-future"}, .since = "2026-01-01T00:00:00Z"},
       .last_seen = "2026-02-01"},
      {.workload = kDb, .verdict = {.state = State::kOn, .since = "2026-01-01T00:00:00Z"}, .last_seen = "2026-03-01"}};
  Node node;
  node.workloads = Workloads(kept);
  CHECK(node.workloads.to_remember() == kept);
  CHECK_FALSE(node.workloads.unsaved());
  CHECK(node.workloads.decided().size() == 2);
  CHECK(node.workloads.present().at(State::kOn) == 0);

  node.join(2, kDb);
  CHECK_FALSE(node.workloads.unsaved());
  CHECK(node.workloads.present() ==
        std::map<State, std::uint64_t>{{State::kLearning, 0}, {State::kOn, 1}, {State::kOff, 0}});
  node.join(1, kWeb);
  CHECK(node.workloads.unsaved());  // the day it was last seen
  CHECK(node.workloads.to_remember()[0].last_seen == "2026-03-01");
  CHECK(node.state(kWeb) == State::kOff);
}

TEST_CASE("learn: memory is bounded, and the workloads of this node's pods stay") {
  std::vector<Remembered> kept;
  for (std::size_t i = 0; i < kMostWorkloads + 3; ++i) {
    kept.push_back({.workload = {.ns = "n", .owner = "Job/" + std::to_string(i), .images = {}},
                    .verdict = {.state = State::kOn, .since = "2026-01-01T00:00:00Z"},
                    .last_seen = i < 4 ? "2026-01-0" + std::to_string(i + 1) : "2027-01-01"});
  }
  Node node;
  node.workloads = Workloads(kept);
  CHECK(node.workloads.to_remember().size() == kMostWorkloads);
  CHECK(node.workloads.unsaved());
  CHECK(node.state(kept[2].workload) == State::kLearning);
  CHECK(node.state(kept[3].workload) == State::kOn);
  node.join(1, kWeb);  // older than all the others, by a clock that was wrong
  CHECK(node.state(kept[3].workload) == State::kLearning);
  CHECK(node.workloads.to_remember().size() == kMostWorkloads - 1);
  CHECK(node.workloads.present().at(State::kLearning) == 1);
}

TEST_CASE("learn: a verdict in words") {
  CHECK(explain({}) == "learning: 0 of 8 connections, 0 of 32 reads");
  CHECK(explain({.connections = 3, .reads = 12}) == "learning: 3 of 8 connections, 12 of 32 reads");
  CHECK(explain({.state = State::kOn, .connections = 8}) == "learned: 8 connections without a trait");
  CHECK(explain({.state = State::kOn, .connections = 1}) == "learned: 1 connection without a trait");
  CHECK(explain({.state = State::kOff, .traits = {"waitall", "splice"}, .since = "2026-03-01T09:30:00.125Z"}) ==
        "waitall, splice seen on 2026-03-01: stays on TCP");
  CHECK(kWeb.to_string() == "shop/Deployment/web");
  CHECK(workload_of({.id = {"shop", "web-1"}, .owner = "Deployment/web", .images = {"web:1"}}) == kWeb);
}

}  // namespace
}  // namespace underpass::learn
