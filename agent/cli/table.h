// SPDX-License-Identifier: Apache-2.0
// Tables for people: a header in capitals, columns as wide as their widest cell, two spaces between them, no trailing
// spaces. What is absent is "-".
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace underpass::cli {

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string header;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns);

  // One cell per column; control characters are replaced, and an empty cell is shown as "-".
  void add(std::vector<std::string> cells);

  [[nodiscard]] bool is_empty() const { return rows_.empty(); }
  [[nodiscard]] std::size_t width() const;  // of the longest line, in terminal columns
  [[nodiscard]] std::string to_text() const;

 private:
  std::vector<Align> align_;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

// "NAME   value" lines, the values in one column: for a single thing with many properties.
class Properties {
 public:
  void add(std::string name, std::string value);
  [[nodiscard]] std::string to_text(std::size_t indent = 0) const;

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

}  // namespace underpass::cli
