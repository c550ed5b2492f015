// SPDX-License-Identifier: Apache-2.0
// What the kernel's own counters say happened since a moment: a test of short-circuit that saw none has tested nothing.
#pragma once

#include <cstdint>

#include "test/support/world.h"

namespace underpass::test {

class Accounts {
 public:
  explicit Accounts(const World& world) : world_(world), before_(world.pinned.stats()) {}

  [[nodiscard]] std::uint64_t connections(up_way way) const {
    return now().connections[way] - before_.connections[way];
  }
  [[nodiscard]] std::uint64_t short_circuited() const { return connections(UP_WAY_SHORT_CIRCUIT); }
  [[nodiscard]] std::uint64_t direct() const { return connections(UP_WAY_DIRECT); }
  [[nodiscard]] std::uint64_t redirected_bytes() const { return now().redirected_bytes - before_.redirected_bytes; }
  [[nodiscard]] std::uint64_t fallbacks(up_why why) const { return now().fallbacks[why] - before_.fallbacks[why]; }

 private:
  [[nodiscard]] up_stats now() const { return world_.pinned.stats(); }

  const World& world_;
  const up_stats before_;
};

}  // namespace underpass::test
