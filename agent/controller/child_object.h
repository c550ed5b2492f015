// SPDX-License-Identifier: Apache-2.0
// The part of an object that is to be written into.
#pragma once

#include <boost/json/object.hpp>
#include <string_view>

namespace underpass::controller {

// The member that is an object; made, or in the place of what is none, where it is not.
inline boost::json::object& child(boost::json::object& of, std::string_view name) {
  auto& value = of[name];
  if (!value.is_object()) value.emplace_object();
  return value.get_object();
}

}  // namespace underpass::controller
