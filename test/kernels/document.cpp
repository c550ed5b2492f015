// SPDX-License-Identifier: Apache-2.0
#include "test/kernels/document.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <stdexcept>

#include "test/kernels/suites.h"
#include "test/support/ctl.h"

namespace underpass::kernels {
namespace {

namespace json = boost::json;
using test::text_of;

constexpr std::string_view kBegin = "<!-- measured -->\n";
constexpr std::string_view kEnd = "<!-- end -->";
constexpr const char* kNothing = "–";

void put(Table& table, const std::string& row, const std::string& kernel, const std::string& cell) {
  if (!table.cells.contains(row)) table.rows.push_back(row);
  table.cells[row][kernel] = cell;
}

std::string way_in(const json::object& step) {
  if (step.contains("error")) return "failed";
  const std::string reason = text_of(step.at("fallbackReason"));
  return text_of(step.at("way")) + (reason.empty() ? "" : " (" + reason + ")");
}

std::string verdict_of(const json::object& step) {
  if (step.contains("missing")) return kNothing;
  if (step.contains("error") || !step.contains("exit")) return "failed";
  return text_of(step.at("exit")) == "exit code 0" ? "pass" : "failed";
}

std::pair<std::size_t, std::size_t> marks(const std::string& document) {
  const std::size_t begin = document.find(kBegin);
  const std::size_t end = document.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    throw std::runtime_error("the document has no table between its marks");
  return {begin + kBegin.size(), end};
}

// "| a | b |" → "a", "b"
std::vector<std::string> cells_in(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream text(line);
  std::string cell;
  std::getline(text, cell, '|');
  while (std::getline(text, cell, '|')) {
    const std::size_t first = cell.find_first_not_of(' ');
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, cell.find_last_not_of(' ') - first + 1));
  }
  return cells;
}

std::string cell_of(const Table& table, const std::string& row, const std::string& kernel) {
  const auto found = table.cells.find(row);
  if (found == table.cells.end() || !found->second.contains(kernel)) return kNothing;
  return found->second.at(kernel);
}

}  // namespace

Table table_of(const std::string& kernel, const Measured& measured) {
  Table table;
  if (!measured.unavailable.empty()) return table;
  const json::object agent = measured.step("agent");
  put(table, "`underpassd`", kernel,
      measured.started()       ? "starts: " + text_of(agent.at("state"))
      : agent.contains("exit") ? "refuses"
                               : "failed");
  if (!measured.started()) return table;
  for (const json::value& row : agent.at("check").as_array())
    put(table, "`check`: " + text_of(row.at("name")), kernel, text_of(row.at("result")));
  put(table, "two pods that say `on`, IPv4", kernel, way_in(measured.step("way-ipv4")));
  put(table, "two pods that say `on`, IPv6", kernel, way_in(measured.step("way-ipv6")));
  const json::object streams = measured.step("streams");
  put(table, "random streams between them", kernel,
      streams.contains("failures") && streams.at("failures").as_array().empty() ? "right" : "wrong");
  for (const Suite& suite : kSuites) {
    const bool runs = !suite.accelerated || !measured.stays_on_tcp();
    put(table, "tests: " + suite.step, kernel, runs ? verdict_of(measured.step(suite.step)) : kNothing);
  }
  return table;
}

void add(Table& table, const Table& more) {
  for (const std::string& row : more.rows) {
    for (const auto& [kernel, cell] : more.cells.at(row)) put(table, row, kernel, cell);
  }
}

Table parse(const std::string& document) {
  const auto [begin, end] = marks(document);
  std::istringstream lines(document.substr(begin, end - begin));
  std::string line;
  std::getline(lines, line);
  const std::vector<std::string> kernels = cells_in(line);
  std::getline(lines, line);  // | --- |
  Table table;
  while (std::getline(lines, line)) {
    const std::vector<std::string> cells = cells_in(line);
    for (std::size_t i = 1; i < std::min(cells.size(), kernels.size()); ++i)
      put(table, cells.at(0), kernels.at(i), cells.at(i));
  }
  return table;
}

std::string replace(const std::string& document, const Table& table) {
  std::string text = "|  |";
  std::string rule = "\n| --- |";
  for (const std::string& kernel : kKernels) {
    text += " " + kernel + " |";
    rule += " --- |";
  }
  text += rule + "\n";
  for (const std::string& row : table.rows) {
    text += "| " + row + " |";
    for (const std::string& kernel : kKernels) text += " " + cell_of(table, row, kernel) + " |";
    text += "\n";
  }
  const auto [begin, end] = marks(document);
  return document.substr(0, begin) + text + document.substr(end);
}

std::string difference(const Table& documented, const Table& found) {
  std::set<std::string> kernels;
  for (const auto& [row, cells] : found.cells) {
    for (const auto& [kernel, cell] : cells) kernels.insert(kernel);
  }
  std::vector<std::string> rows = documented.rows;
  for (const std::string& row : found.rows) {
    if (std::ranges::find(rows, row) == rows.end()) rows.push_back(row);
  }
  std::string text;
  for (const std::string& row : rows) {
    for (const std::string& kernel : kernels) {
      const std::string says = cell_of(documented, row, kernel);
      const std::string is = cell_of(found, row, kernel);
      if (says != is) text += row + ", " + kernel + ": says \"" + says + "\", measured \"" + is + "\"\n";
    }
  }
  return text;
}

}  // namespace underpass::kernels
