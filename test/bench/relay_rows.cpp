// SPDX-License-Identifier: Apache-2.0
#include "test/bench/relay_rows.h"

#include <algorithm>

#include "test/bench/slices.h"

namespace underpass::bench {
namespace {

// The same variants side by side, where both are in the row.
void compare_as(const Row& model, Row& row) {
  const auto has = [&](const std::string& variant) {
    return std::ranges::any_of(row.series, [&](const Series& series) { return series.variant == variant; });
  };
  for (const Comparison& one : model.comparisons)
    if (has(one.variant) && has(one.against)) row.comparisons.push_back({one.variant, one.against});
}

}  // namespace

std::vector<Row> measure_relays(const Relays& relays, const Plan& plan, Row row, const std::string& of_what,
                                const std::vector<Pair>& pairs, const std::function<Slice(const Pair&)>& slice) {
  Row p99{.group = row.group,
          .title = row.title + ": 99 of 100 are answered within",
          .conditions = row.conditions,
          .unit = "µs"};
  Row cpu{.group = row.group, .title = row.title + ": CPU time of the relay", .conditions = of_what, .unit = "µs"};
  in_rounds(row, pairs, plan, [&](const Pair& pair) {
    const up_stats stats = relays.stats();
    const double before = relays.cpu_seconds(pair);
    const Slice result = slice(pair);
    relays.check_way(pair, stats);
    if (pair.variant != "direct")
      cpu.of(pair.variant).push_back((relays.cpu_seconds(pair) - before) * 1e6 / result.count);
    if (result.p99_us > 0) p99.of(pair.variant).push_back(result.p99_us);
    return result.value;
  });
  std::vector<Row> rows{std::move(row)};
  for (Row* other : {&p99, &cpu}) {
    if (other->series.empty()) continue;
    compare_as(rows.front(), *other);
    rows.push_back(std::move(*other));
  }
  return rows;
}

}  // namespace underpass::bench
