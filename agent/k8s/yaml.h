// SPDX-License-Identifier: Apache-2.0
// YAML text to the tree that the decoders read. Scalars follow the core schema of YAML 1.2, so a plain `on` is a string
// and a plain `true` is not. Work and memory are bounded by the length of the text, whatever it says: aliases are
// expanded under a budget, depth and number of values are limited. Duplicate keys and merge keys (<<) are refused.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace underpass::k8s {

struct YamlDocument {
  boost::json::value value;
  int line = 0;  // on which it starts, from 1
};

struct YamlError {
  int line = 0;
  std::string cause;
};

inline constexpr std::size_t kYamlMaxDepth = 128;
inline constexpr std::size_t kYamlMaxValues = 1'000'000;
inline constexpr std::size_t kYamlMaxExpandedBytes = std::size_t{64} << 20;  // of all scalars, those of aliases too

// The documents of a text, empty ones left out, or the first thing that is wrong with it.
std::expected<std::vector<YamlDocument>, YamlError> parse_yaml(std::string_view text);

}  // namespace underpass::k8s
