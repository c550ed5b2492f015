// SPDX-License-Identifier: Apache-2.0
#include "test/bench/report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::bench {
namespace json = boost::json;
namespace {

std::string fixed(double value, int decimals) {
  std::ostringstream out;
  out.setf(std::ios::fixed);
  out.precision(decimals);
  out << value;
  return out.str();
}

// Three or four significant digits.
std::string amount(double value) {
  const double size = std::abs(value);
  return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

// Three decimals near 1, where a per cent or two is what matters.
std::string ratio_text(double value) { return fixed(value, std::abs(value - 1) < 0.1 ? 3 : 2); }

std::string pad(const std::string& text, std::size_t width, bool right = false) {
  // Counts characters, not bytes: µ and ≤ have two and three.
  const auto length = static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
  const std::string blanks(width > length ? width - length : 0, ' ');
  return right ? blanks + text : text + blanks;
}

std::string bound_text(const std::optional<Bound>& bound, double ratio) {
  if (!bound) return "";
  return std::string(bound->kind == Bound::Kind::kAtMost ? "≤ " : "≥ ") + fixed(bound->value, 2) +
         (bound->met_by(ratio) ? " yes" : " NO");
}

std::string line_of(const Row& row, const Series& series, const Comparison* comparison, bool first) {
  const Interval spread = median_interval(series.rounds);
  std::string line = "  " + pad(first ? series.variant : "", 16) +
                     pad(first ? amount(median(series.rounds)) + " " + row.unit : "", 18, true) + "  " +
                     pad(first ? "[" + amount(spread.low) + ", " + amount(spread.high) + "]" : "", 20);
  if (comparison != nullptr) {
    const Numbers ratios = row.ratios_of(*comparison);
    const Interval interval = median_interval(ratios);
    line += pad(ratio_text(median(ratios)) + " × " + comparison->against, 24) +
            pad("[" + ratio_text(interval.low) + ", " + ratio_text(interval.high) + "]", 17) +
            pad(bound_text(comparison->target, median(ratios)), 13) + bound_text(comparison->goal, median(ratios));
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

json::object bound_json(const Bound& bound, double ratio) {
  return {{bound.kind == Bound::Kind::kAtMost ? "atMost" : "atLeast", bound.value}, {"met", bound.met_by(ratio)}};
}

json::object comparison_json(const Row& row, const Comparison& comparison) {
  const Numbers ratios = row.ratios_of(comparison);
  const Interval interval = median_interval(ratios);
  json::object out{{"variant", comparison.variant},
                   {"against", comparison.against},
                   {"ratio", median(ratios)},
                   {"interval", {interval.low, interval.high}},
                   {"target", nullptr},
                   {"goal", nullptr}};
  if (comparison.target) out["target"] = bound_json(*comparison.target, median(ratios));
  if (comparison.goal) out["goal"] = bound_json(*comparison.goal, median(ratios));
  return out;
}

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

}  // namespace

Numbers& Row::of(const std::string& variant) {
  for (Series& one : series) {
    if (one.variant == variant) return one.rounds;
  }
  return series.emplace_back(variant, Numbers{}).rounds;
}

const Numbers& Row::of(const std::string& variant) const {
  const auto found = std::ranges::find(series, variant, &Series::variant);
  if (found == series.end()) throw std::logic_error(title + ": no variant " + variant);
  return found->rounds;
}

Numbers Row::ratios_of(const Comparison& comparison) const {
  const Numbers plain = ratios(of(comparison.variant), of(comparison.against));
  return comparison.control.empty() ? plain : ratios(plain, comparison.control);
}

Facts gather_facts(int rounds, bool bridge_netfilter) {
  utsname system{};
  ::uname(&system);
  double load = 0;
  ::getloadavg(&load, 1);
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  char started[32];
  std::strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&seconds));
  return {.machine = std::to_string(::sysconf(_SC_NPROCESSORS_ONLN)) + " × " + cpu_model(),
          .kernel = std::string(system.sysname) + " " + system.release,
          .started = started,
          .version = UNDERPASS_VERSION,
          .rounds = rounds,
          .bridge_netfilter = bridge_netfilter,
          .auto_problem = {},
          .load_before = load};
}

std::string to_table(const Facts& facts, const std::vector<Row>& rows) {
  std::string out =
      "Underpass " + facts.version + ", " + facts.started + ", " + facts.machine + ", " + facts.kernel + ", load " +
      fixed(facts.load_before, 2) + " before the run, bridge netfilter " + (facts.bridge_netfilter ? "on" : "off") +
      "\n" + "Medians of " + std::to_string(facts.rounds) +
      " interleaved rounds unless a row says otherwise; in brackets where the median lies (95 %).\n" +
      "A ratio is the median of the ratios of the rounds.\n" +
      (facts.auto_problem.empty() ? "" : "Mode on, since auto stays on TCP here: " + facts.auto_problem + "\n") + "\n" +
      pad("", 60) + pad("ratio", 41) + pad("target", 13) + "goal\n";
  for (const Row& row : rows) {
    out += row.title + "   (" + row.conditions + ")\n";
    for (const Series& series : row.series) {
      bool first = true;
      for (const Comparison& comparison : row.comparisons) {
        if (comparison.variant != series.variant) continue;
        out += line_of(row, series, &comparison, first);
        first = false;
      }
      if (first) out += line_of(row, series, nullptr, true);
    }
    if (!row.note.empty()) out += "  " + row.note + "\n";
    out += "\n";
  }
  return out;
}

json::value to_json(const Facts& facts, const std::vector<Row>& rows) {
  json::array all;
  for (const Row& row : rows) {
    json::array variants;
    for (const Series& series : row.series) {
      const Interval spread = median_interval(series.rounds);
      variants.push_back({{"name", series.variant},
                          {"median", median(series.rounds)},
                          {"interval", {spread.low, spread.high}},
                          {"rounds", json::value_from(series.rounds)}});
    }
    json::array comparisons;
    for (const Comparison& comparison : row.comparisons) comparisons.push_back(comparison_json(row, comparison));
    all.push_back({{"group", row.group},
                   {"title", row.title},
                   {"conditions", row.conditions},
                   {"unit", row.unit},
                   {"variants", variants},
                   {"comparisons", comparisons},
                   {"note", row.note}});
  }
  return {{"version", facts.version},
          {"started", facts.started},
          {"machine", facts.machine},
          {"kernel", facts.kernel},
          {"loadBefore", facts.load_before},
          {"rounds", facts.rounds},
          {"bridgeNetfilter", facts.bridge_netfilter},
          {"autoProblem", facts.auto_problem},
          {"rows", all}};
}

bool all_targets_met(const std::vector<Row>& rows) {
  return std::ranges::all_of(rows, [](const Row& row) {
    return std::ranges::all_of(row.comparisons, [&](const Comparison& comparison) {
      return !comparison.target || comparison.target->met_by(median(row.ratios_of(comparison)));
    });
  });
}

}  // namespace underpass::bench
