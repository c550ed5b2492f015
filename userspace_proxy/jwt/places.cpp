// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/jwt/places.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace underpass::jwt {

namespace {

using Kind = Place::Kind;

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return text.size() >= prefix.size() && std::ranges::equal(text.substr(0, prefix.size()), prefix, {}, lower, lower);
}

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// As servers read a form: "%41" is "A", "+" a blank; what is no escape stays.
std::string decode_form(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// A list and its parts: `take(part, begin)`.
template <typename Take>
void for_each_part(std::string_view list, char separator, Take take) {
  for (std::size_t begin = 0;;) {
    const auto end = std::min(list.find(separator, begin), list.size());
    take(list.substr(begin, end - begin), begin);
    if (end == list.size()) return;
    begin = end + 1;
  }
}

std::pair<std::string_view, std::string_view> name_and_value(std::string_view part) {
  const auto equals = part.find('=');
  if (equals == std::string_view::npos) return {part, {}};
  return {part.substr(0, equals), part.substr(equals + 1)};
}

std::optional<std::string_view> query_of(std::string_view path) {
  const auto mark = path.find('?');
  if (mark == std::string_view::npos) return std::nullopt;
  return path.substr(mark + 1);
}

// Takes what the places of one request have, up to a number.
class Search {
 public:
  Search(const http::Request& request, std::size_t most) : request_(request), most_(most) {}

  void look_at(const Place& place, std::size_t index) {
    if (place.kind == Kind::kParam) return look_at_query(place, index);
    const std::string_view line = place.kind == Kind::kHeader ? std::string_view(place.name) : "cookie";
    for (std::size_t i = 0; i < request_.fields.size(); ++i) {
      const auto field = request_.fields.at(i);
      if (field.name != line) continue;
      if (place.kind == Kind::kCookie) {
        look_at_cookies(place, index, i, field.value);
      } else if (starts_with_ignoring_case(field.value, place.prefix)) {
        take({.place = index,
              .token = std::string(without_blanks(field.value.substr(place.prefix.size()))),
              .field = i});
      }
    }
  }
  std::vector<Found> found;

 private:
  void take(Found token) {
    if (found.size() < most_) found.push_back(std::move(token));
  }

  void look_at_query(const Place& place, std::size_t index) {
    const auto query = query_of(request_.path);
    if (!query) return;
    for_each_part(*query, '&', [&](std::string_view part, std::size_t begin) {
      const auto [name, value] = name_and_value(part);
      if (decode_form(name) == place.name) take({.place = index, .token = decode_form(value), .begin = begin});
    });
  }

  void look_at_cookies(const Place& place, std::size_t index, std::size_t line, std::string_view cookies) {
    for_each_part(cookies, ';', [&](std::string_view part, std::size_t begin) {
      auto [name, value] = name_and_value(part);
      if (without_blanks(name) != place.name) return;
      value = without_blanks(value);
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
      take({.place = index, .token = std::string(value), .field = line, .begin = begin});
    });
  }

  const http::Request& request_;
  std::size_t most_;
};

// The list without the parts that begin at one of `gone`; the others are byte for byte what they were.
std::string without_parts(std::string_view list, char separator, std::span<const std::size_t> gone) {
  std::string out;
  bool first = true;
  for_each_part(list, separator, [&](std::string_view part, std::size_t begin) {
    if (std::ranges::count(gone, begin) != 0) return;
    if (!first) out += separator;
    out += first && separator == ';' ? without_blanks(part) : part;
    first = false;
  });
  return out;
}

void remove_params(std::string& path, std::span<const std::size_t> gone) {
  const auto mark = path.find('?');
  if (gone.empty() || mark == std::string::npos) return;
  const auto query = without_parts(std::string_view(path).substr(mark + 1), '&', gone);
  path.resize(mark);
  if (!query.empty()) path += "?" + query;
}

}  // namespace

std::vector<Place> places_of(const model::JwtRule& rule) {
  std::vector<Place> places;
  for (const auto& [name, prefix] : rule.from_headers)
    places.push_back({.kind = Kind::kHeader, .name = name, .prefix = prefix});
  for (const auto& name : rule.from_params) places.push_back({.kind = Kind::kParam, .name = name, .prefix = ""});
  for (const auto& name : rule.from_cookies) places.push_back({.kind = Kind::kCookie, .name = name, .prefix = ""});
  if (!places.empty()) return places;
  return {{.kind = Kind::kHeader, .name = "authorization", .prefix = "Bearer "},
          {.kind = Kind::kParam, .name = "access_token", .prefix = ""}};
}

std::vector<Found> find_tokens(const http::Request& request, std::span<const Place> places, std::size_t most) {
  Search search(request, most);
  for (std::size_t i = 0; i < places.size(); ++i) search.look_at(places[i], i);
  return std::move(search.found);
}

void remove_tokens(http::Request& request, std::span<const Place> places, std::span<const Found> gone) {
  std::vector<std::size_t> params;
  std::vector<std::size_t> lines;
  std::vector<std::pair<std::size_t, std::size_t>> cookies;  // line, begin
  for (const auto& found : gone) {
    const auto kind = places[found.place].kind;
    if (kind == Kind::kParam) params.push_back(found.begin);
    if (kind == Kind::kHeader) lines.push_back(found.field);
    if (kind == Kind::kCookie) cookies.emplace_back(found.field, found.begin);
  }
  remove_params(request.path, params);
  if (lines.empty() && cookies.empty()) return;
  http::Fields kept;
  for (std::size_t i = 0; i < request.fields.size(); ++i) {
    const auto field = request.fields.at(i);
    if (std::ranges::count(lines, i) != 0) continue;
    std::vector<std::size_t> parts;
    for (const auto& [line, begin] : cookies)
      if (line == i) parts.push_back(begin);
    if (parts.empty()) {
      kept.add(field.name, field.value);
    } else if (const auto rest = without_parts(field.value, ';', parts); !rest.empty()) {
      kept.add(field.name, rest);
    }
  }
  request.fields = std::move(kept);
}

}  // namespace underpass::jwt
