// SPDX-License-Identifier: Apache-2.0
// The list of behaviours, what is expected of them, and docs/short-circuit.md say the same.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "test/semantics/row.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

using Table = std::map<std::string, std::string>;  // first cell → last cell

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

// The first table below the heading.
Table table_below(const std::string& document, const std::string& heading) {
  const std::size_t at = document.find("\n" + heading + "\n");
  REQUIRE_MESSAGE(at != std::string::npos, "no heading ", heading);
  std::istringstream lines(document.substr(at + heading.size() + 2));
  Table table;
  int rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#")) break;
    if (!line.starts_with("|")) {
      if (rows > 0) break;
      continue;
    }
    if (++rows <= 2) continue;  // names of the columns, and the line below them
    std::vector<std::string> cells;
    std::istringstream parts(line.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');) cells.push_back(trimmed(cell));
    REQUIRE(cells.size() >= 2);
    CHECK_MESSAGE(table.emplace(cells.front(), cells.back()).second, "twice in the table: ", cells.front());
  }
  return table;
}

const std::string& document() {
  static const std::string text = read_file(std::string(UNDERPASS_DOCS) + "/short-circuit.md");
  return text;
}

TEST_CASE("every behaviour has its expectation, and every expectation its behaviour") {
  std::set<std::string_view> expected;
  for (const Row& row : expectations()) CHECK_MESSAGE(expected.insert(row.name).second, "twice: ", row.name);
  std::set<std::string_view> known;
  for (const std::string_view name : known_behaviours()) CHECK_MESSAGE(known.insert(name).second, "twice: ", name);
  for (const std::string_view name : expected) CHECK_MESSAGE(known.contains(name), "no behaviour: ", name);
  for (const std::string_view name : known) CHECK_MESSAGE(expected.contains(name), "no expectation: ", name);
}

TEST_CASE("docs/short-circuit.md names exactly the rows that differ in mode on") {
  Table expected;
  for (const Row& row : expectations()) {
    if (!row.differs_in_on.empty()) expected.emplace(row.name, row.differs_in_on);
  }
  const Table written = table_below(document(), "## What differs in mode `on`");
  for (const auto& [name, reason] : expected) {
    CHECK_MESSAGE(written.contains(name), "not documented: ", name);
    if (written.contains(name)) CHECK(written.at(name) == reason);
  }
  for (const auto& [name, reason] : written) CHECK_MESSAGE(expected.contains(name), "differs no longer: ", name);
}

TEST_CASE("docs/short-circuit.md names exactly the rows that mode auto keeps on TCP") {
  Table expected;
  for (const Row& row : expectations()) {
    if (!row.trigger.empty()) expected.emplace(row.name, "`" + std::string(row.trigger) + "`");
  }
  const Table written = table_below(document(), "## What keeps a workload on TCP in mode `auto`");
  CHECK(written == expected);
}

}  // namespace
}  // namespace underpass::test
