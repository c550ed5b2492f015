// SPDX-License-Identifier: Apache-2.0
#include "agent/jwks/key_set_text.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace underpass::jwks {

Result<void> check_key_set(std::string_view text) {
  namespace json = boost::json;
  if (text.size() > kMaxSetBytes) return fail("longer than " + std::to_string(kMaxSetBytes) + " bytes");
  json::error_code error;
  const auto value = json::parse({text.data(), text.size()}, error);
  if (error) return fail("not JSON: " + error.message());
  const auto* set = value.if_object();
  const auto* keys = set == nullptr ? nullptr : set->if_contains("keys");
  const auto* list = keys == nullptr ? nullptr : keys->if_array();
  if (list == nullptr) return fail("no key set: \"keys\" is missing, or not a list");
  if (std::ranges::none_of(*list, [](const json::value& key) { return key.is_object(); }))
    return fail("a key set without keys");
  return {};
}

}  // namespace underpass::jwks
