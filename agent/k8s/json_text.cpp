// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/json_text.h"

#include <algorithm>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/parse_options.hpp>
#include <cstddef>
#include <utility>

namespace underpass::k8s {
namespace json = boost::json;

namespace {

constexpr std::string_view kSpace = " \t\r\n";

struct Piece {
  std::string_view text;
  int line = 0;  // on which it starts, from 1
};

// Cuts at lines "---". No string of JSON has a line's end in it, so a piece that parses was no part of one.
std::vector<Piece> split(std::string_view text) {
  std::vector<Piece> pieces{{text.substr(0, 0), 1}};
  const char* start = text.data();
  for (int line = 1; !text.empty(); ++line) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto row = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (row.starts_with("---") && row.find_first_not_of(kSpace, 3) == std::string_view::npos) {
      start = text.data();
      pieces.push_back({text.substr(0, 0), line + 1});
    } else {
      pieces.back().text = {start, static_cast<std::size_t>(row.data() + row.size() - start)};
    }
  }
  return pieces;
}

// What stands before a ":" outside of strings.
std::size_t count_keys(std::string_view text) {
  std::size_t count = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (in_string && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      in_string = !in_string;
    } else if (!in_string && text[i] == ':') {
      ++count;
    }
  }
  return count;
}

struct Count {
  std::size_t values = 0;
  std::size_t keys = 0;
};

void count(const json::value& value, Count& out) {
  out.values += 1;
  if (const auto* object = value.if_object()) {
    out.keys += object->size();
    for (const auto& member : *object) count(member.value(), out);
  } else if (const auto* list = value.if_array()) {
    for (const auto& element : *list) count(element, out);
  }
}

}  // namespace

std::optional<std::vector<YamlDocument>> parse_json_text(std::string_view text) {
  const auto first = text.find_first_not_of("- \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return std::nullopt;

  json::parse_options options;
  options.max_depth = kYamlMaxDepth;
  const auto memory = json::make_shared_resource<json::monotonic_resource>(text.size());
  std::vector<YamlDocument> documents;
  Count total;
  for (auto [piece, line] : split(text)) {
    const auto start = piece.find_first_not_of(kSpace);
    if (start == std::string_view::npos) continue;
    if (piece[start] != '{') return std::nullopt;
    line += static_cast<int>(std::ranges::count(piece.substr(0, start), '\n'));

    boost::system::error_code error;
    auto value = json::parse({piece.data(), piece.size()}, error, memory, options);
    if (error) return std::nullopt;
    Count own;
    count(value, own);
    if (own.keys != count_keys(piece)) return std::nullopt;  // of two that are the same only the last is left
    total.values += own.values;
    total.keys += own.keys;
    if (total.values + total.keys > kYamlMaxValues) return std::nullopt;
    documents.push_back({std::move(value), line});
  }
  return documents;
}

}  // namespace underpass::k8s
