// SPDX-License-Identifier: Apache-2.0
// The table that the suite ends with: which way each behaviour went in each mode, and whether that could be noticed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace underpass::test {

struct TableLine {
  std::string row;
  std::string mode;
  std::string way;
  std::uint64_t redirected = 0;
  std::string reason;
  std::string verdict;  // "equal", "DIFFERS", "skipped"
};

void note(TableLine line);
[[nodiscard]] std::string to_text(const std::vector<TableLine>& lines);

}  // namespace underpass::test
