// SPDX-License-Identifier: Apache-2.0
// Where in a JSON text something stands, which parsers do not tell.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace underpass::cni {

struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// The elements of the array `name` of the object that `text` is. The text must be valid JSON (a parser has said so);
// of several members with that name the last one counts, as everywhere.
std::vector<TextRange> array_elements(std::string_view text, std::string_view name);

}  // namespace underpass::cni
