// SPDX-License-Identifier: Apache-2.0
// Policies as short texts: "abc*" is a prefix, "10.0.0.0/8" a network.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "underpass/ip_address.h"
#include "underpass/model/policy.h"

namespace underpass::test {

inline IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

inline model::StringMatch string_match(const std::string& text) {
  using Kind = model::StringMatch::Kind;
  if (text == "*") return {Kind::kPresent, ""};
  if (text.ends_with('*')) return {Kind::kPrefix, text.substr(0, text.size() - 1)};
  if (text.starts_with('*')) return {Kind::kSuffix, text.substr(1)};
  return {Kind::kExact, text};
}

inline model::IpBlock ip_block(const std::string& text) {
  const auto slash = text.find('/');
  const auto base = ip(text.substr(0, slash));
  if (slash == std::string::npos) return {base, 128};
  return {base, static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1)) + (base.is_v4() ? 96 : 0))};
}

using Texts = std::vector<std::string>;

inline model::Match<model::StringMatch> strings(const Texts& values, const Texts& not_values = {}) {
  model::Match<model::StringMatch> out;
  for (const auto& text : values) out.values.push_back(string_match(text));
  for (const auto& text : not_values) out.not_values.push_back(string_match(text));
  return out;
}

inline model::Match<model::IpBlock> blocks(const Texts& values, const Texts& not_values = {}) {
  model::Match<model::IpBlock> out;
  for (const auto& text : values) out.values.push_back(ip_block(text));
  for (const auto& text : not_values) out.not_values.push_back(ip_block(text));
  return out;
}

}  // namespace underpass::test
