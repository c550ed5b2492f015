// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/json_text.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace underpass::cli {

namespace json = boost::json;

const json::value* find_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* found = &value;
  for (const std::string_view name : path) {
    const json::object* object = found->if_object();
    found = object != nullptr ? object->if_contains(name) : nullptr;
    if (found == nullptr) return nullptr;
  }
  return found;
}

std::string text_of(const json::value* value) {
  if (value == nullptr || value->is_null()) return "";
  if (value->is_string()) return std::string(value->get_string());
  if (value->is_bool()) return value->get_bool() ? "yes" : "no";
  if (const json::array* list = value->if_array()) {
    std::string out;
    for (const json::value& item : *list) out += (out.empty() ? "" : ",") + text_of(&item);
    return out;
  }
  return json::serialize(*value);
}

std::string text_at(const json::value& value, std::initializer_list<std::string_view> path) {
  return text_of(find_at(value, path));
}

const json::array& list_at(const json::value& value, std::initializer_list<std::string_view> path) {
  static const json::array kEmpty;
  const json::value* found = find_at(value, path);
  return found != nullptr && found->is_array() ? found->get_array() : kEmpty;
}

}  // namespace underpass::cli
