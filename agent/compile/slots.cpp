// SPDX-License-Identifier: Apache-2.0
// The fewest writes from one table of slots to another. A slot that holds what it may hold stays; the others below the
// new count, the new ones among them, are written before the count changes. So a reader that still has the old count
// finds a backend of the old or of the new set.
#include "agent/compile/slots.h"

#include <algorithm>
#include <cassert>

namespace underpass::compile {
namespace {

SlotTarget target_of(const Backend& backend) { return {.ip = backend.ip, .port = backend.port}; }

// Each backend as often as it is to have slots; where now's slots stand right, they stay.
std::vector<SlotTarget> arrange(const std::vector<SlotTarget>& now, std::span<const Backend> backends, bool by_weight,
                                std::vector<bool>& right) {
  assert(std::ranges::is_sorted(backends, {}, target_of));
  std::vector<std::uint32_t> missing;  // how many slots each backend still has to get
  std::size_t count = 0;
  missing.reserve(backends.size());
  for (const auto& backend : backends) {
    missing.push_back(by_weight ? std::max<std::uint32_t>(backend.weight, 1) : 1);
    count += missing.back();
  }
  std::vector<SlotTarget> out(count);
  right.assign(count, false);
  for (std::size_t slot = 0; slot < std::min(count, now.size()); ++slot) {
    const auto found = std::ranges::lower_bound(backends, now[slot], {}, target_of);
    if (found == backends.end() || target_of(*found) != now[slot]) continue;
    auto& left = missing[static_cast<std::size_t>(found - backends.begin())];
    if (left == 0) continue;
    --left;
    out[slot] = now[slot];
    right[slot] = true;
  }
  std::size_t next = 0;
  for (std::size_t slot = 0; slot < count; ++slot) {
    if (right[slot]) continue;
    while (missing[next] == 0) ++next;
    --missing[next];
    out[slot] = target_of(backends[next]);
  }
  return out;
}

std::vector<std::uint16_t> arrange_maglev(const std::vector<SlotTarget>& slots, std::span<const Backend> backends) {
  std::vector<std::uint16_t> slot_of(backends.size());
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const auto found = std::ranges::lower_bound(backends, slots[slot], {}, target_of);
    slot_of[static_cast<std::size_t>(found - backends.begin())] = static_cast<std::uint16_t>(slot);
  }
  std::vector<std::uint16_t> out;
  const auto table = maglev_table(backends);
  out.reserve(table.size());
  for (const auto index : table) out.push_back(slot_of[index]);
  return out;
}

std::span<const std::uint16_t> block_of(const std::vector<std::uint16_t>& maglev, std::size_t begin) {
  const auto all = std::span(maglev);
  return begin < all.size() ? all.subspan(begin, std::min(kMaglevBlock, all.size() - begin)) : all.first(0);
}

void plan_blocks(const std::vector<std::uint16_t>& now, const std::vector<std::uint16_t>& next, SlotPlan& plan) {
  for (std::size_t begin = 0; begin < std::max(now.size(), next.size()); begin += kMaglevBlock) {
    const auto number = static_cast<std::uint32_t>(begin / kMaglevBlock);
    if (next.empty())
      plan.removed_blocks.push_back(number);
    else if (!std::ranges::equal(block_of(now, begin), block_of(next, begin)))
      plan.blocks.push_back(number);
  }
}

}  // namespace

SlotPlan plan_slots(Slots& now, const PortTable& wanted) {
  const auto backends =
      std::span(wanted.backends)
          .first(wanted.maglev ? std::min(wanted.backends.size(), kMaglevBackendsMax) : wanted.backends.size());
  std::vector<bool> right;
  Slots next{.targets = arrange(now.targets, backends, !wanted.maglev, right), .maglev = {}};
  if (wanted.maglev) next.maglev = arrange_maglev(next.targets, backends);

  SlotPlan plan{.count = static_cast<std::uint32_t>(next.targets.size())};
  for (std::uint32_t slot = 0; slot < plan.count; ++slot) {
    if (!right[slot]) plan.writes.push_back({.slot = slot, .target = next.targets[slot]});
  }
  for (auto slot = plan.count; slot < now.targets.size(); ++slot) plan.removed.push_back(slot);
  plan_blocks(now.maglev, next.maglev, plan);
  now = std::move(next);
  return plan;
}

}  // namespace underpass::compile
