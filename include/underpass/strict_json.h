// SPDX-License-Identifier: Apache-2.0
// Reads JSON that another process wrote and that must be exactly what was agreed: a member that is missing, of another
// type, out of range or unknown is an Error that names path → cause. The first one counts; what is read after it are
// defaults, so that a decoder reads straight down and asks once, at the end.
#pragma once

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "underpass/result.h"

namespace underpass::strict_json {

// The first thing that was wrong.
class Problem {
 public:
  void add(std::string_view path, std::string_view cause) {
    if (message_.empty()) message_ = path.empty() ? std::string(cause) : std::string(path) + ": " + std::string(cause);
  }
  [[nodiscard]] explicit operator bool() const { return !message_.empty(); }
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  std::string message_;
};

inline Result<boost::json::value> parse(std::string_view text) {
  boost::json::error_code error;
  auto value = boost::json::parse({text.data(), text.size()}, error);
  if (error) return fail("not JSON: " + error.message());
  return value;
}

// Decimal digits and nothing else; no leading zeros, so that a number has one spelling.
inline std::optional<std::uint64_t> parse_id(std::string_view text) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return id;
}

// Nothing for a negative one, and one that is not whole.
inline std::optional<std::uint64_t> whole_number(const boost::json::value& value) {
  if (const auto* plain = value.if_uint64()) return *plain;
  const auto* with_sign = value.if_int64();
  if (with_sign == nullptr || *with_sign < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*with_sign);
}

// An object of which every member is asked for. The value that it looks at must outlive it.
class Object {
 public:
  Object(const boost::json::value& value, std::string path, Problem& problem)
      : object_(value.if_object()), path_(std::move(path)), problem_(problem) {
    if (object_ == nullptr) problem_.add(path_, "not an object");
  }

  [[nodiscard]] std::string path_of(std::string_view name) const {
    return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
  }

  const boost::json::value* member(std::string_view name) {
    if (object_ == nullptr) return nullptr;
    const auto* found = object_->if_contains({name.data(), name.size()});
    if (found == nullptr) problem_.add(path_of(name), "is missing");
    asked_.push_back(name);
    return found;
  }

  template <std::unsigned_integral Number = std::uint64_t>
  Number number(std::string_view name, std::uint64_t least = 0,
                std::uint64_t most = std::numeric_limits<Number>::max()) {
    const auto* value = member(name);
    if (value == nullptr) return 0;
    const auto number = whole_number(*value);
    if (!number) {
      problem_.add(path_of(name), "not a whole number");
      return 0;
    }
    if (*number < least || *number > most) {
      problem_.add(path_of(name),
                   std::to_string(*number) + ": must be from " + std::to_string(least) + " to " + std::to_string(most));
      return 0;
    }
    return static_cast<Number>(*number);
  }

  // A number that may need all 64 bits: a string, since other readers of JSON round such numbers.
  std::uint64_t id(std::string_view name) {
    const auto text = string(name);
    if (problem_) return 0;
    const auto id = parse_id(text);
    if (!id) problem_.add(path_of(name), "\"" + text + "\": not a number in decimal digits");
    return id.value_or(0);
  }

  std::string string(std::string_view name) {
    const auto* value = member(name);
    if (value == nullptr) return {};
    if (const auto* text = value->if_string()) return {text->data(), text->size()};
    problem_.add(path_of(name), "not a string");
    return {};
  }

  bool boolean(std::string_view name) {
    const auto* value = member(name);
    if (value == nullptr) return false;
    if (const auto* truth = value->if_bool()) return *truth;
    problem_.add(path_of(name), "not true or false");
    return false;
  }

  // Calls `element(const value&, path)` for each.
  template <typename Element>
  void array(std::string_view name, Element element) {
    const auto* value = member(name);
    if (value == nullptr) return;
    const auto* array = value->if_array();
    if (array == nullptr) return problem_.add(path_of(name), "not an array");
    for (std::size_t i = 0; i < array->size(); ++i) element((*array)[i], path_of(name) + "[" + std::to_string(i) + "]");
  }

  // Calls `entry(key, const value&, path)` for each.
  template <typename Entry>
  void map(std::string_view name, Entry entry) {
    const auto* value = member(name);
    if (value == nullptr) return;
    const auto* object = value->if_object();
    if (object == nullptr) return problem_.add(path_of(name), "not an object");
    for (const auto& [key, held] : *object) {
      const std::string_view text(key.data(), key.size());
      entry(text, held, path_of(name) + "." + std::string(text));
    }
  }

  // What nobody asked for is a problem.
  void end() {
    if (object_ == nullptr) return;
    for (const auto& [key, held] : *object_) {
      const std::string_view name(key.data(), key.size());
      if (std::ranges::find(asked_, name) == asked_.end()) problem_.add(path_of(name), "is not known");
    }
  }

 private:
  const boost::json::object* object_;
  std::string path_;
  Problem& problem_;
  std::vector<std::string_view> asked_;
};

}  // namespace underpass::strict_json
