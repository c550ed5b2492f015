// SPDX-License-Identifier: Apache-2.0
// How the backends of a Service's port stand in the kernel: numbered slots, of which connect() takes one at random or
// as Maglev's table says. A change is a handful of writes, in an order in which every slot below the count is a valid
// backend at every moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "agent/compile/services.h"
#include "underpass/abi.h"

namespace underpass::compile {

// What a slot holds: where a connection is led.
struct SlotTarget {
  IpAddress ip;
  std::uint16_t port = 0;

  auto operator<=>(const SlotTarget&) const = default;
};

struct Slots {
  std::vector<SlotTarget> targets;
  std::vector<std::uint16_t> maglev;  // Maglev's table: the slot for each hash; empty: a slot is taken at random

  bool operator==(const Slots&) const = default;
};

// What to write, in this order. `removed` and `removed_blocks` go when nobody can look for them any more.
struct SlotPlan {
  struct Write {
    std::uint32_t slot;
    SlotTarget target;
  };
  std::vector<Write> writes;
  std::vector<std::uint32_t> blocks;  // of Maglev's table, kMaglevBlock entries each
  std::uint32_t count = 0;            // of slots
  std::vector<std::uint32_t> removed;
  std::vector<std::uint32_t> removed_blocks;
};

inline constexpr std::size_t kMaglevBlock = UP_MAGLEV_BLOCK;

// A prime (Maglev §3.4), large enough that one change of a hundred backends moves less than 2 % of all clients, the 1 %
// of the backend that went or came included (measured at 100 backends, the worst of 2,000 removals: 4093 entries 4.6 %,
// 16381 2.7 %, 32749 2.0 %, 49157 1.8 %).
inline constexpr std::size_t kMaglevEntries = UP_MAGLEV_ENTRIES;

// The table names slots with 16 bits. Of more backends the first ones are used.
inline constexpr std::size_t kMaglevBackendsMax = std::numeric_limits<std::uint16_t>::max();

// The writes that lead from `now` to what `wanted` asks for, and `now` as it is after them. The order of slots means
// nothing, and a removed backend's slots are overwritten by the last ones. Random: a backend has as many slots as its
// weight. Maglev: one slot each, and the table knows the weights.
SlotPlan plan_slots(Slots& now, const PortTable& wanted);

// Maglev's lookup table (Eisenbud et al., NSDI 2016, §3.4): for every entry the index of a backend. Depends on the set
// of backends alone, so that every node and every agent makes the same. Weights: a backend takes its turn that many
// times.
std::vector<std::uint32_t> maglev_table(std::span<const Backend> backends, std::size_t entries = kMaglevEntries);

}  // namespace underpass::compile
