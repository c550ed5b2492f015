// SPDX-License-Identifier: Apache-2.0
// Proves of every slice that its connections went the way the row says, by `underpassctl connections` while they stand;
// a benchmark of something else must not look like a result. Tells too what went by TCP all the same, and why.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "test/bench/node.h"
#include "underpass/abi.h"

namespace underpass::bench {

class WayCheck {
 public:
  explicit WayCheck(const Node& node) : node_(node) {}

  // To be called before a slice of `pair` begins; what it returns throws where the way is wrong.
  WhileOpen watch(const Pair& pair);
  // What was seen, for the report.
  [[nodiscard]] std::string note() const;

 private:
  void check(const Pair& pair, std::uint16_t server_port);
  void add(const up_stats& before, const up_stats& after);

  const Node& node_;
  int checked_ = 0;
  std::uint64_t redirected_ = 0;                         // messages of all short-circuited slices, socket to socket
  std::array<std::uint64_t, UP_WHY_COUNT> fallbacks_{};  // ... and by TCP
};

}  // namespace underpass::bench
