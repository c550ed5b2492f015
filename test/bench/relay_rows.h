// SPDX-License-Identifier: Apache-2.0
// A row of relays, and beside it those of what it cost them and of how long the slowest waited, from the same slices.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "test/bench/relays.h"
#include "test/bench/rows.h"

namespace underpass::bench {

// What a slice gave, and for how many of what the relay's CPU time is told.
struct Slice {
  double value = 0;
  double count = 0;
  double p99_us = 0;  // 0: not measured
};

// `row` with its comparisons; the other two rows compare the same variants. Throws when what went through a relay was
// not what its variant says.
std::vector<Row> measure_relays(const Relays& relays, const Plan& plan, Row row, const std::string& of_what,
                                const std::vector<Pair>& pairs, const std::function<Slice(const Pair&)>& slice);

}  // namespace underpass::bench
