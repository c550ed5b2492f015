// SPDX-License-Identifier: Apache-2.0
// What all parts of a routing table as JSON are made of. Each type has a function that makes a value of it and one that
// reads it, which takes the value, its path for messages and the problem to add to.
//
// A StringMatch is a string whose first character says how it matches: "=whole", "^beginning", "$end", "*" anything,
// "~template". An IpBlock is "10.0.0.0/104", its prefix of 128 bits. A Match is two lists, what must and what must not
// match, or no list where nothing is asked for.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/model/policy.h"
#include "underpass/strict_json.h"

namespace underpass::routing_table_json {

namespace json = boost::json;
using strict_json::Object;
using strict_json::Problem;

inline constexpr std::uint64_t kMaxMilliseconds = 1'000ull * 3600 * 24 * 365;  // far below what overflows a clock

// --- choices ---

template <typename T>
using Name = std::pair<T, std::string_view>;

template <typename T, std::size_t N>
json::value encode_choice(const Name<T> (&names)[N], T value) {
  for (const auto& [known, name] : names)
    if (known == value) return json::string(json::string_view(name.data(), name.size()));
  return nullptr;  // which no reader takes
}

inline std::string decode_text(const json::value& value, const std::string& path, Problem& problem) {
  if (const auto* text = value.if_string()) return {text->data(), text->size()};
  problem.add(path, "not a string");
  return {};
}

template <typename T, std::size_t N>
T decode_choice(const json::value& value, const std::string& path, Problem& problem, const Name<T> (&names)[N]) {
  const auto text = decode_text(value, path, problem);
  for (const auto& [known, name] : names)
    if (name == text) return known;
  problem.add(path, "\"" + text + "\": is not known");
  return names[0].first;
}

template <typename T, std::size_t N>
T decode_choice(Object& object, std::string_view name, Problem& problem, const Name<T> (&names)[N]) {
  const auto* value = object.member(name);
  return value == nullptr ? names[0].first : decode_choice(*value, object.path_of(name), problem, names);
}

// --- lists and maps ---

template <typename T, typename Encode>
json::array encode_each(const std::vector<T>& list, Encode encode) {
  json::array out;
  out.reserve(list.size());
  for (const auto& element : list) out.push_back(encode(element));
  return out;
}

template <typename Decode>
auto decode_each(const json::value& value, const std::string& path, Problem& problem, Decode decode) {
  std::vector<decltype(decode(value, path, problem))> out;
  const auto* array = value.if_array();
  if (array == nullptr) {
    problem.add(path, "not an array");
    return out;
  }
  out.reserve(array->size());
  for (std::size_t i = 0; i < array->size(); ++i)
    out.push_back(decode((*array)[i], path + "[" + std::to_string(i) + "]", problem));
  return out;
}

template <typename Decode>
auto decode_each(Object& object, std::string_view name, Problem& problem, Decode decode) {
  const auto* value = object.member(name);
  if (value == nullptr) return decltype(decode_each(*value, "", problem, decode)){};
  return decode_each(*value, object.path_of(name), problem, decode);
}

inline json::value encode_text(const std::string& text) { return json::string(text); }

inline json::array encode_texts(const std::vector<std::string>& list) { return encode_each(list, encode_text); }

inline std::vector<std::string> decode_texts(Object& object, std::string_view name, Problem& problem) {
  return decode_each(object, name, problem, decode_text);
}

inline json::object encode_map(const std::map<std::string, std::string>& map) {
  json::object out;
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}

inline std::map<std::string, std::string> decode_map(Object& object, std::string_view name, Problem& problem) {
  std::map<std::string, std::string> out;
  object.map(name, [&](std::string_view key, const json::value& value, const std::string& path) {
    out.emplace(key, decode_text(value, path, problem));
  });
  return out;
}

inline std::chrono::milliseconds decode_duration(Object& object, std::string_view name, std::uint64_t least) {
  return std::chrono::milliseconds(object.number(name, least, kMaxMilliseconds));
}

inline NamespacedName decode_id(Object& object) {
  auto ns = object.string("namespace");
  return {std::move(ns), object.string("name")};
}

// --- what policies compare with ---

inline constexpr Name<model::StringMatch::Kind> kMatchKinds[] = {
    {model::StringMatch::Kind::kExact, "="},    {model::StringMatch::Kind::kPrefix, "^"},
    {model::StringMatch::Kind::kSuffix, "$"},   {model::StringMatch::Kind::kPresent, "*"},
    {model::StringMatch::Kind::kTemplate, "~"},
};

inline json::value encode_string_match(const model::StringMatch& match) {
  json::value out = encode_choice(kMatchKinds, match.kind);
  if (auto* text = out.if_string()) text->append(match.text);
  return out;
}

// Of paths, which alone may be compared with a template.
inline model::StringMatch decode_path(const json::value& value, const std::string& path, Problem& problem) {
  const auto text = decode_text(value, path, problem);
  model::StringMatch out;
  for (const auto& [kind, name] : kMatchKinds) {
    if (!text.starts_with(name)) continue;
    out = {.kind = kind, .text = text.substr(name.size())};
    if (out.text.empty() == (kind == model::StringMatch::Kind::kPresent)) return out;
  }
  problem.add(path, "\"" + text + "\": says not how to match what");
  return out;
}

inline model::StringMatch decode_string_match(const json::value& value, const std::string& path, Problem& problem) {
  auto out = decode_path(value, path, problem);
  if (out.kind == model::StringMatch::Kind::kTemplate)
    problem.add(path, "\"~" + out.text + "\": a template is of paths");
  return out;
}

inline json::value encode_block(const model::IpBlock& block) {
  return json::string(block.base.to_string() + "/" + std::to_string(block.prefix));
}

// Whether bits behind the prefix are set.
inline bool has_host_bits(const model::IpBlock& block) {
  const auto address = block.base.to_abi();
  for (unsigned bit = block.prefix; bit < 128; ++bit)
    if ((address.bytes[bit / 8] >> (7 - bit % 8) & 1) != 0) return true;
  return false;
}

inline model::IpBlock decode_block(const json::value& value, const std::string& path, Problem& problem) {
  const auto text = decode_text(value, path, problem);
  const auto slash = text.find('/');
  const auto base = IpAddress::parse(text.substr(0, slash));
  const auto prefix = slash == std::string::npos ? std::nullopt : strict_json::parse_id(text.substr(slash + 1));
  if (!base || !prefix || *prefix > 128 || (base->is_v4() && *prefix < 96)) {
    problem.add(path, "\"" + text + "\": not a block of addresses");
    return {};
  }
  const model::IpBlock out{.base = *base, .prefix = static_cast<std::uint8_t>(*prefix)};
  if (has_host_bits(out)) problem.add(path, "\"" + text + "\": has bits behind its prefix");
  return out;
}

inline json::value encode_port(std::uint16_t port) { return port; }

inline std::uint16_t decode_port(const json::value& value, const std::string& path, Problem& problem) {
  const auto number = strict_json::whole_number(value);
  if (number && *number >= 1 && *number <= 65535) return static_cast<std::uint16_t>(*number);
  problem.add(path, "not a port");
  return 0;
}

template <typename T, typename Encode>
json::value encode_match(const model::Match<T>& match, Encode encode) {
  json::array out;
  if (match.empty()) return out;
  out.push_back(encode_each(match.values, encode));
  out.push_back(encode_each(match.not_values, encode));
  return out;
}

template <typename Decode>
auto decode_match(Object& object, std::string_view name, Problem& problem, Decode decode) {
  model::Match<decltype(decode(json::value(), "", problem))> out;
  const auto* value = object.member(name);
  if (value == nullptr) return out;
  const auto* lists = value->if_array();
  if (lists != nullptr && lists->empty()) return out;  // as most are
  const auto path = object.path_of(name);
  if (lists == nullptr || lists->size() != 2) {
    problem.add(path, "not an array of two or none");
    return out;
  }
  out.values = decode_each((*lists)[0], path + "[0]", problem, decode);
  out.not_values = decode_each((*lists)[1], path + "[1]", problem, decode);
  return out;
}

}  // namespace underpass::routing_table_json
