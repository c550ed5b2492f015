// SPDX-License-Identifier: Apache-2.0
// Fields of HTTP/2 as tests write and read them, for nghttp2.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace underpass::test {

using Head = std::vector<std::pair<std::string, std::string>>;  // pseudo-headers too, in their order

// The first of that name; empty: none.
inline std::string field_of(const Head& head, std::string_view name) {
  const auto found = std::ranges::find(head, name, &Head::value_type::first);
  return found == head.end() ? "" : found->second;
}

// Good while the head is.
inline std::vector<nghttp2_nv> list_of(const Head& head) {
  const auto bytes = [](const std::string& text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  };
  std::vector<nghttp2_nv> out;
  for (const auto& [name, value] : head)
    out.push_back({.name = bytes(name),
                   .value = bytes(value),
                   .namelen = name.size(),
                   .valuelen = value.size(),
                   .flags = NGHTTP2_NV_FLAG_NONE});
  return out;
}

// What nghttp2 answered; throws where that is an error.
inline std::int32_t check_nghttp2(std::int32_t result) {
  if (result < 0) throw std::runtime_error(std::string("nghttp2: ") + nghttp2_strerror(result));
  return result;
}

}  // namespace underpass::test
