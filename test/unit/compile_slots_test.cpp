// SPDX-License-Identifier: Apache-2.0
// Slots of a Service's port: what they hold after a change, what they hold meanwhile, and how few are written.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "agent/compile/slots.h"
#include "test/support/chi_squared.h"

namespace underpass::compile {
namespace {

Backend backend(int number, std::uint16_t weight = 1) {
  const auto text = "10.0." + std::to_string(number / 200) + "." + std::to_string(number % 200 + 1);
  return {.ip = IpAddress::parse(text).value(), .port = 8080, .weight = weight};
}

constexpr std::size_t kBlocks = (kMaglevEntries + kMaglevBlock - 1) / kMaglevBlock;

SlotTarget target(const Backend& backend) { return {backend.ip, backend.port}; }

PortTable table(std::vector<Backend> backends, bool maglev = false) {
  std::ranges::sort(backends);
  return {.frontends = {}, .backends = std::move(backends), .maglev = maglev};
}

std::multiset<SlotTarget> slots_of(const PortTable& wanted) {
  std::multiset<SlotTarget> out;
  for (const auto& one : wanted.backends) {
    for (int i = 0; i < (wanted.maglev ? 1 : one.weight); ++i) out.insert(target(one));
  }
  return out;
}

// The kernel's side: a plan is applied one write at a time, and after each of them every slot that a reader may take
// must hold a backend of the old or of the new set. A slot that Maglev's table names and that is gone sends the reader
// back to the beginning, so it must not be gone while the table is what a beginner finds.
struct Kernel {
  std::vector<std::optional<SlotTarget>> slots;
  std::map<std::uint32_t, std::vector<std::uint16_t>> blocks;
  std::uint32_t count = 0;
  bool maglev = false;
  std::set<SlotTarget> known;  // old and new set

  void apply(const SlotPlan& plan, const Slots& next, const PortTable& wanted) {
    std::set<SlotTarget> fresh;
    for (const auto& one : wanted.backends) fresh.insert(target(one));
    known.insert(fresh.begin(), fresh.end());
    for (const auto& write : plan.writes) {
      if (write.slot >= slots.size()) slots.resize(write.slot + 1);
      slots[write.slot] = write.target;
      check();
    }
    for (const auto block : plan.blocks) {
      const auto begin = next.maglev.begin() + static_cast<std::ptrdiff_t>(block * kMaglevBlock);
      const auto left = next.maglev.end() - begin;
      blocks[block].assign(begin, begin + std::min<std::ptrdiff_t>(kMaglevBlock, left));
    }
    check_blocks();
    count = plan.count;
    maglev = wanted.maglev;
    check();
    check_blocks();
    for (const auto slot : plan.removed) {
      slots.at(slot).reset();
      check();
    }
    for (const auto block : plan.removed_blocks) blocks.erase(block);
    check_blocks();
    known = fresh;
    check();  // the old set's are gone
    for (std::size_t slot = count; slot < slots.size(); ++slot) REQUIRE_FALSE(slots[slot].has_value());
  }

  void check() const {
    bool valid = count <= slots.size();
    for (std::size_t slot = 0; valid && slot < count; ++slot) valid = slots[slot] && known.contains(*slots[slot]);
    REQUIRE(valid);
  }

  void check_blocks() const {
    if (!maglev || count == 0) return;
    bool valid = blocks.size() == kBlocks;
    for (const auto& [number, block] : blocks)
      for (const auto slot : block) valid = valid && slot < slots.size() && slots[slot].has_value();
    REQUIRE(valid);
  }

  std::multiset<SlotTarget> held() const {
    std::multiset<SlotTarget> out;
    for (std::size_t slot = 0; slot < count; ++slot) out.insert(*slots[slot]);
    return out;
  }
};

TEST_CASE("slots: one backend more is one write") {
  for (int count = 0; count < 40; ++count) {
    std::vector<Backend> backends;
    for (int i = 0; i < count; ++i) backends.push_back(backend(2 * i));
    for (int i = 0; i <= count; ++i) {
      Slots now;
      plan_slots(now, table(backends));
      auto more = backends;
      more.push_back(backend(2 * i + 1));
      const auto plan = plan_slots(now, table(more));
      REQUIRE(plan.writes.size() == 1);
      CHECK(plan.writes[0].slot == static_cast<std::uint32_t>(count));
      CHECK(plan.writes[0].target == target(more.back()));
      CHECK(plan.count == static_cast<std::uint32_t>(count + 1));
      CHECK(plan.removed.empty());
    }
  }
}

TEST_CASE("slots: one backend less is at most one write and one removal") {
  for (int count = 1; count < 40; ++count) {
    std::vector<Backend> backends;
    for (int i = 0; i < count; ++i) backends.push_back(backend(i));
    for (int i = 0; i < count; ++i) {
      Slots now;
      plan_slots(now, table(backends));
      const auto last = now.targets.back();
      auto fewer = backends;
      fewer.erase(fewer.begin() + i);
      const auto plan = plan_slots(now, table(fewer));
      CHECK(plan.writes.size() == (target(backends[i]) == last ? 0 : 1));
      CHECK(plan.count == static_cast<std::uint32_t>(count - 1));
      CHECK(plan.removed == std::vector{static_cast<std::uint32_t>(count - 1)});
    }
  }
}

TEST_CASE("slots: nothing changed, nothing written") {
  for (const bool maglev : {false, true}) {
    const auto wanted = table({backend(1, 3), backend(2), backend(3, 7)}, maglev);
    Slots now;
    plan_slots(now, wanted);
    const auto plan = plan_slots(now, wanted);
    CHECK(plan.writes.empty());
    CHECK(plan.removed.empty());
    CHECK(plan.blocks.empty());
    CHECK(plan.removed_blocks.empty());
    CHECK(plan.count == (maglev ? 3 : 11));
  }
}

TEST_CASE("slots: another weight moves the difference") {
  Slots now;
  plan_slots(now, table({backend(1, 3), backend(2, 3)}));
  auto plan = plan_slots(now, table({backend(1, 5), backend(2, 3)}));
  CHECK(plan.writes.size() == 2);
  CHECK(plan.count == 8);
  plan = plan_slots(now, table({backend(1, 5), backend(2, 1)}));
  CHECK(plan.count == 6);
  CHECK(plan.writes.size() <= 2);
  CHECK(plan.removed == std::vector<std::uint32_t>{6, 7});
}

TEST_CASE("slots: nothing ready leaves none") {
  for (const bool maglev : {false, true}) {
    Slots now;
    plan_slots(now, table({backend(1), backend(2)}, maglev));
    const auto plan = plan_slots(now, table({}, maglev));
    CHECK(plan.writes.empty());
    CHECK(plan.count == 0);
    CHECK(plan.removed.size() == 2);
    CHECK(plan.blocks.empty());
    CHECK(plan.removed_blocks.size() == (maglev ? kBlocks : 0));
    CHECK(now == Slots{});
  }
}

TEST_CASE("slots: Maglev has one slot for each backend, and a table that follows the weights") {
  const auto wanted = table({backend(1, 3), backend(2), backend(3, 6)}, true);
  Slots now;
  const auto plan = plan_slots(now, wanted);
  CHECK(plan.count == 3);
  CHECK(plan.writes.size() == 3);
  CHECK(plan.blocks.size() == kBlocks);
  REQUIRE(now.maglev.size() == kMaglevEntries);
  const auto expected = maglev_table(wanted.backends);
  bool same = true;
  for (std::size_t entry = 0; entry < kMaglevEntries; ++entry)
    same = same && now.targets[now.maglev[entry]] == target(wanted.backends[expected[entry]]);
  CHECK(same);
}

TEST_CASE("slots: Maglev moves only the clients of what changed, whatever becomes of the slots") {
  std::vector<Backend> backends;
  for (int i = 0; i < 100; ++i) backends.push_back(backend(i));
  Slots now;
  plan_slots(now, table(backends, true));
  const auto before = now;
  backends.erase(backends.begin() + 17);  // its slot becomes the last one's
  const auto plan = plan_slots(now, table(backends, true));
  CHECK(plan.writes.size() == 1);
  CHECK(plan.removed == std::vector<std::uint32_t>{99});
  CHECK(plan.blocks.size() <= kBlocks);
  std::size_t moved = 0;
  for (std::size_t entry = 0; entry < kMaglevEntries; ++entry)
    moved += before.targets[before.maglev[entry]] != now.targets[now.maglev[entry]] ? 1 : 0;
  CHECK(moved <= kMaglevEntries / 50);
}

TEST_CASE("slots: of more backends than Maglev's table can name the first ones are used") {
  std::vector<Backend> backends;
  for (std::uint32_t i = 0; i < kMaglevBackendsMax + 3; ++i) {
    const auto text =
        "10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255);
    backends.push_back({.ip = IpAddress::parse(text).value(), .port = 8080});
  }
  Slots now;
  const auto plan = plan_slots(now, table(backends, true));
  CHECK(plan.count == kMaglevBackendsMax);
  CHECK(std::ranges::max(now.maglev) < plan.count);
}

TEST_CASE("slots: at every moment of any sequence of changes every slot is a backend's") {
  std::mt19937 random(20260301);
  const auto below = [&](std::uint32_t limit) { return static_cast<std::uint32_t>(random() % limit); };
  for (int run = 0; run < 20; ++run) {
    Slots now;
    Kernel kernel;
    for (int step = 0; step < 60; ++step) {
      std::vector<Backend> backends;
      const auto one_in = 1 + below(4);
      for (int i = 0; i < 30; ++i) {
        const auto weight = below(3) == 0 ? 1 + below(9) : 1;
        if (below(one_in) == 0) backends.push_back(backend(i, static_cast<std::uint16_t>(weight)));
      }
      if (below(10) == 0) backends.clear();
      const auto wanted = table(backends, below(3) == 0);
      const auto plan = plan_slots(now, wanted);
      kernel.apply(plan, now, wanted);
      REQUIRE(kernel.held() == slots_of(wanted));
      REQUIRE(now.targets.size() == kernel.count);
      for (std::size_t slot = 0; slot < kernel.count; ++slot) REQUIRE(*kernel.slots[slot] == now.targets[slot]);
      REQUIRE(kernel.blocks.size() == (wanted.maglev && kernel.count != 0 ? kBlocks : 0));
    }
  }
}

TEST_CASE("slots: a random slot is even over weights (chi-squared, p > 0.001)") {
  constexpr int kConnections = 200'000;
  std::vector<Backend> backends;
  double total = 0;
  for (int i = 0; i < 40; ++i) {
    backends.push_back(backend(i, static_cast<std::uint16_t>(i % 4 == 0 ? 1 + i : 1)));
    total += backends.back().weight;
  }
  const auto wanted = table(backends);
  Slots now;
  plan_slots(now, table({backend(3, 9), backend(77, 40), backend(9)}));  // with a past
  plan_slots(now, wanted);
  std::mt19937_64 random(4711);
  std::vector<double> seen(wanted.backends.size());
  for (int i = 0; i < kConnections; ++i) {
    const auto& slot = now.targets[random() % now.targets.size()];
    ++seen[std::ranges::lower_bound(wanted.backends, slot, {}, target) - wanted.backends.begin()];
  }
  std::vector<double> expected;
  for (const auto& one : wanted.backends) expected.push_back(kConnections * one.weight / total);
  CHECK(test::is_plausible(seen, expected));
  const std::vector<double> unweighted(seen.size(), kConnections / static_cast<double>(seen.size()));
  CHECK_FALSE(test::is_plausible(seen, unweighted));  // the test can fail
}

}  // namespace
}  // namespace underpass::compile
