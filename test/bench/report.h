// SPDX-License-Identifier: Apache-2.0
// The result of a run: rows of variants, what they were compared with and what was asked for; as a table for people and
// as JSON.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <vector>

#include "test/bench/statistics.h"

namespace underpass::bench {

// What a ratio has to be.
struct Bound {
  enum class Kind { kAtMost, kAtLeast };
  Kind kind = Kind::kAtMost;
  double value = 0;

  [[nodiscard]] bool met_by(double ratio) const { return kind == Kind::kAtMost ? ratio <= value : ratio >= value; }
};

struct Series {
  std::string variant;
  Numbers rounds;  // one value of each round
};

// The median of the ratios of the rounds: variant / against.
struct Comparison {
  std::string variant;
  std::string against;
  std::optional<Bound> target{};  // what --strict asks for
  std::optional<Bound> goal{};    // what it is to become
  // The same ratio of a control that nothing touched, by round: ratios are divided by it, so that a change of the CPU's
  // speed between the two cancels out.
  Numbers control{};
};

struct Row {
  std::string group;       // what --only names: "rtt"
  std::string title;       // "round trip, 64 B"
  std::string conditions;  // pinning, connections, payload, duration
  std::string unit;
  std::vector<Series> series{};
  std::vector<Comparison> comparisons{};
  std::string note{};  // what was verified, or what to keep in mind

  Numbers& of(const std::string& variant);  // made when it is not there yet
  [[nodiscard]] const Numbers& of(const std::string& variant) const;
  [[nodiscard]] Numbers ratios_of(const Comparison& comparison) const;
};

// One line a fact: the machine, the kernel, when, how many rounds.
struct Facts {
  std::string machine;
  std::string kernel;
  std::string started;  // RFC 3339, UTC
  std::string version;
  int rounds = 0;
  bool bridge_netfilter = false;
  std::string auto_problem;  // why mode `auto` was measured in mode `on`; empty: it was not
  double load_before = 0;    // load average of the last minute, before anything ran
};
Facts gather_facts(int rounds, bool bridge_netfilter);

std::string to_table(const Facts& facts, const std::vector<Row>& rows);
boost::json::value to_json(const Facts& facts, const std::vector<Row>& rows);
bool all_targets_met(const std::vector<Row>& rows);

}  // namespace underpass::bench
