// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/table.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <utility>

#include "agent/cli/text.h"

namespace underpass::cli {
namespace {

constexpr std::size_t kGap = 2;

std::string cell_text(std::string_view text) { return text.empty() ? "-" : to_printable(text); }

void append_line(std::string& out, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  out += line;
  out += '\n';
}

}  // namespace

Table::Table(std::vector<Column> columns) {
  for (Column& column : columns) {
    align_.push_back(column.align);
    widths_.push_back(width_of(column.header));
    header_.push_back(std::move(column.header));
  }
}

void Table::add(std::vector<std::string> cells) {
  assert(cells.size() == header_.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    cells[i] = cell_text(cells[i]);
    widths_[i] = std::max(widths_[i], width_of(cells[i]));
  }
  rows_.push_back(std::move(cells));
}

std::size_t Table::width() const {
  const std::size_t gaps = widths_.empty() ? 0 : kGap * (widths_.size() - 1);
  return std::accumulate(widths_.begin(), widths_.end(), gaps);
}

std::string Table::to_text() const {
  std::string out;
  const auto append_row = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string padding(widths_[i] - width_of(cells[i]), ' ');
      if (i > 0) line.append(kGap, ' ');
      line += align_[i] == Align::kRight ? padding + cells[i] : cells[i] + padding;
    }
    append_line(out, std::move(line));
  };
  append_row(header_);
  for (const std::vector<std::string>& row : rows_) append_row(row);
  return out;
}

void Properties::add(std::string name, std::string value) { lines_.emplace_back(std::move(name), cell_text(value)); }

std::string Properties::to_text(std::size_t indent) const {
  std::size_t widest = 0;
  for (const auto& [name, value] : lines_) widest = std::max(widest, width_of(name));
  std::string out;
  for (const auto& [name, value] : lines_) {
    append_line(out, std::string(indent, ' ') + name + std::string(widest - width_of(name) + kGap, ' ') + value);
  }
  return out;
}

}  // namespace underpass::cli
