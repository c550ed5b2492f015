// SPDX-License-Identifier: Apache-2.0
#include "test/semantics/table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "test/semantics/ground.h"

namespace underpass::test {
namespace {

std::vector<TableLine>& all_lines() {
  static std::vector<TableLine> lines;
  return lines;
}

// doctest tells listeners when the last test case is over; only then can the table be printed and the agent be ended.
struct AtTheEnd : doctest::IReporter {
  explicit AtTheEnd(const doctest::ContextOptions& /*options*/) {}

  void test_run_end(const doctest::TestRunStats& /*stats*/) override {
    leave_ground();
    if (!all_lines().empty()) std::cout << to_text(all_lines());
  }

  void report_query(const doctest::QueryData& /*data*/) override {}
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData& /*data*/) override {}
  void test_case_reenter(const doctest::TestCaseData& /*data*/) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& /*stats*/) override {}
  void test_case_exception(const doctest::TestCaseException& /*exception*/) override {}
  void subcase_start(const doctest::SubcaseSignature& /*signature*/) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData& /*data*/) override {}
  void log_message(const doctest::MessageData& /*data*/) override {}
  void test_case_skipped(const doctest::TestCaseData& /*data*/) override {}
};
DOCTEST_REGISTER_LISTENER("the_end", 1, AtTheEnd);

}  // namespace

void note(TableLine line) { all_lines().push_back(std::move(line)); }

std::string to_text(const std::vector<TableLine>& lines) {
  using Cells = std::array<std::string, 6>;
  std::vector<Cells> rows{{"ROW", "MODE", "WAY", "SOCKET TO SOCKET", "FALLBACK", "RESULT"}};
  for (const TableLine& line : lines) {
    const bool repeated = rows.size() > 1 && line.row == lines[rows.size() - 2].row;
    rows.push_back({repeated ? "" : line.row, line.mode, line.way, std::to_string(line.redirected),
                    line.reason.empty() ? "-" : line.reason, line.verdict});
  }
  Cells::size_type column = 0;
  std::array<std::size_t, 6> width{};
  for (const Cells& row : rows) {
    for (column = 0; column < row.size(); ++column) width[column] = std::max(width[column], row[column].size());
  }
  std::ostringstream text;
  text << '\n';
  for (const Cells& row : rows) {
    for (column = 0; column < row.size(); ++column) {
      const bool number = column == 3;
      text << (number ? std::right : std::left);
      if (column + 1 == row.size()) {
        text << row[column] << '\n';
      } else {
        text << std::setw(static_cast<int>(width[column])) << row[column] << "  ";
      }
    }
  }
  return text.str();
}

}  // namespace underpass::test
