// SPDX-License-Identifier: Apache-2.0
// Maglev's table: even, by weight, the same for everybody, and nearly the same after one backend more or less.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "agent/compile/slots.h"
#include "test/support/chi_squared.h"

namespace underpass::compile {
namespace {

std::vector<Backend> make_backends(int count, int net = 0) {
  std::vector<Backend> out;
  for (int i = 0; i < count; ++i) {
    const auto text = "10." + std::to_string(net) + "." + std::to_string(i / 200) + "." + std::to_string(i % 200 + 1);
    out.push_back({.ip = IpAddress::parse(text).value(), .port = 8080});
  }
  return out;
}

std::vector<std::size_t> count_slots(const std::vector<std::uint32_t>& table, std::size_t backends) {
  std::vector<std::size_t> out(backends);
  for (const auto index : table) ++out.at(index);
  return out;
}

TEST_CASE("maglev: no backend, no slots; one backend has all") {
  CHECK(maglev_table({}).empty());
  const auto table = maglev_table(make_backends(1));
  CHECK(table.size() == kMaglevEntries);
  CHECK(std::ranges::count(table, 0U) == static_cast<std::ptrdiff_t>(kMaglevEntries));
}

TEST_CASE("maglev: the number of entries is prime") {
  for (std::size_t divisor = 2; divisor * divisor <= kMaglevEntries; ++divisor) CHECK(kMaglevEntries % divisor != 0);
}

TEST_CASE("maglev: backends of one weight differ by one slot at the most") {
  for (const int count : {2, 3, 10, 100, 1000, 5000}) {
    const auto [least, most] = std::ranges::minmax(count_slots(maglev_table(make_backends(count)), count));
    CHECK(most - least <= 1);
    CHECK(least >= 1);
  }
}

TEST_CASE("maglev: slots by weight, also where not every turn finds room") {
  auto backends = make_backends(1000);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    backends[i].weight = static_cast<std::uint16_t>(i % 2 == 0 ? 100 : 1 + i % 100);
    total += backends[i].weight;
  }
  REQUIRE(total > kMaglevEntries);
  const auto counts = count_slots(maglev_table(backends), backends.size());
  for (std::size_t i = 0; i < backends.size(); ++i) {
    const double wanted = static_cast<double>(kMaglevEntries) * backends[i].weight / static_cast<double>(total);
    CHECK(std::abs(static_cast<double>(counts[i]) - wanted) <= 2.0);  // a turn is a whole entry
  }
}

TEST_CASE("maglev: the order in which backends are named has no part in it") {
  auto backends = make_backends(50);
  for (std::size_t i = 0; i < backends.size(); ++i) backends[i].weight = static_cast<std::uint16_t>(1 + i % 3);
  const auto table = maglev_table(backends);
  auto others = backends;
  std::ranges::shuffle(others, std::mt19937(1));
  const auto other_table = maglev_table(others);
  bool same = true;
  for (std::size_t slot = 0; slot < kMaglevEntries; ++slot) {
    same = same && backends[table[slot]] == others[other_table[slot]];
  }
  CHECK(same);
}

TEST_CASE("maglev: clients are spread evenly (chi-squared, p > 0.001)") {
  constexpr int kClients = 100'000;
  for (const int count : {3, 10, 100}) {
    const auto table = maglev_table(make_backends(count));
    std::mt19937_64 hash(4711);  // what the kernel's hash of a client is as good as
    std::vector<double> seen(count);
    for (int i = 0; i < kClients; ++i) ++seen.at(table[hash() % kMaglevEntries]);
    const std::vector<double> wanted(count, static_cast<double>(kClients) / count);
    CHECK(test::is_plausible(seen, wanted));
  }
}

// One of a hundred backends goes, or, read the other way round, comes.
TEST_CASE("maglev: one change of a hundred backends moves at most 2 % of the slots") {
  for (const int net : {0, 1}) {
    const auto all = make_backends(100, net);
    const auto before = maglev_table(all);
    double worst = 0;
    for (std::size_t gone = 0; gone < all.size(); ++gone) {
      auto rest = all;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(gone));
      const auto after = maglev_table(rest);
      std::size_t moved = 0;
      for (std::size_t slot = 0; slot < kMaglevEntries; ++slot) moved += all[before[slot]] != rest[after[slot]] ? 1 : 0;
      worst = std::max(worst, static_cast<double>(moved) / static_cast<double>(kMaglevEntries));
    }
    MESSAGE("worst of 100 removals: ", worst * 100, " % of the slots");
    CHECK(worst <= 0.02);
  }
  auto more = make_backends(101);
  const auto before = maglev_table(make_backends(100));
  const auto after = maglev_table(more);
  std::size_t moved = 0;
  for (std::size_t slot = 0; slot < kMaglevEntries; ++slot) moved += before[slot] != after[slot] ? 1 : 0;
  CHECK(static_cast<double>(moved) <= 0.02 * static_cast<double>(kMaglevEntries));
}

}  // namespace
}  // namespace underpass::compile
