// SPDX-License-Identifier: Apache-2.0
// Maglev's table. Every backend walks the entries in an order of its own, which is a permutation because the number of
// them is prime; they take turns, and each turn takes the first entry of that order that is still free.
#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <numeric>

#include "agent/compile/slots.h"

namespace underpass::compile {
namespace {

// The finaliser of MurmurHash3: every bit of the input changes every bit of the output with probability one half.
std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdU;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53U;
  return value ^ (value >> 33);
}

// The same on every machine: byte by byte, so that byte order has no part in it. The weight has none either: a backend
// whose weight changes keeps its order.
std::uint64_t hash(const Backend& backend, std::uint64_t seed) {
  const auto address = backend.ip.to_abi();
  for (std::size_t half = 0; half < sizeof(address.bytes); half += 8) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < 8; ++i) word = word << 8 | address.bytes[half + i];
    seed = mix(seed ^ word) + half;
  }
  return mix(seed ^ backend.port);
}

// How one backend walks the entries.
struct Walk {
  std::uint32_t backend;
  std::size_t next;
  std::size_t skip;
  std::uint64_t weight;
  std::uint64_t due = 0;  // takes its turn in the rounds in which round * weight reaches this
};

std::vector<Walk> make_walks(std::span<const Backend> backends, std::size_t entries) {
  std::vector<std::uint32_t> order(backends.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [&](std::uint32_t i) { return backends[i]; });
  std::vector<Walk> out;
  out.reserve(order.size());
  for (const auto i : order) {
    const auto& backend = backends[i];
    out.push_back({.backend = i,
                   .next = hash(backend, 0x6f666673) % entries,
                   .skip = hash(backend, 0x736b6970) % (entries - 1) + 1,
                   .weight = std::max<std::uint64_t>(backend.weight, 1)});
  }
  return out;
}

}  // namespace

std::vector<std::uint32_t> maglev_table(std::span<const Backend> backends, std::size_t entries) {
  if (backends.empty()) return {};
  assert(entries > 1);
  constexpr auto kFree = std::numeric_limits<std::uint32_t>::max();
  std::vector<std::uint32_t> table(entries, kFree);
  auto walks = make_walks(backends, entries);
  const auto heaviest = std::ranges::max(walks, {}, &Walk::weight).weight;
  std::size_t taken = 0;
  for (std::uint64_t round = 1;; ++round) {
    for (auto& walk : walks) {
      // The heaviest takes a turn in every round and the others in their share of the rounds: as many turns as their
      // weights in all, and spread out, so that a table too small for all turns is still divided by weight.
      if (round * walk.weight < walk.due + heaviest) continue;
      walk.due += heaviest;
      while (table[walk.next] != kFree) walk.next = (walk.next + walk.skip) % entries;
      table[walk.next] = walk.backend;
      if (++taken == entries) return table;
    }
  }
}

}  // namespace underpass::compile
