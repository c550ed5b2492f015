// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/jwt/outputs.h"

#include <algorithm>
#include <array>
#include <boost/json/value.hpp>
#include <charconv>
#include <string_view>

namespace underpass::jwt {
namespace json = boost::json;

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool may_be_field(std::string_view text) {
  if (text.empty() || is_blank(text.front()) || is_blank(text.back())) return false;
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

template <typename Number>
std::string number_text(Number number) {
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), number);
  return {text.data(), end};
}

}  // namespace

std::optional<std::string> claim_as_field(const json::object& claims, std::span<const std::string> way) {
  const json::object* object = &claims;
  const json::value* value = nullptr;
  for (const auto& name : way) {
    value = object == nullptr ? nullptr : object->if_contains(name);
    if (value == nullptr) return std::nullopt;
    object = value->if_object();
  }
  if (value == nullptr) return std::nullopt;
  if (const auto* truth = value->if_bool()) return *truth ? "true" : "false";
  if (const auto* number = value->if_int64()) return number_text(*number);
  if (const auto* number = value->if_uint64()) return number_text(*number);
  if (const auto* number = value->if_double()) return number_text(*number);
  const auto* text = value->if_string();
  if (text == nullptr || !may_be_field({text->data(), text->size()})) return std::nullopt;
  return std::string(text->data(), text->size());
}

}  // namespace underpass::jwt
