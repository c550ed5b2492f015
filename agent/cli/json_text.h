// SPDX-License-Identifier: Apache-2.0
// Looking into JSON of which nothing is promised, for display: what is missing is nullptr, and its text empty.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <initializer_list>
#include <string>
#include <string_view>

namespace underpass::cli {

// The value at a path of member names.
const boost::json::value* find_at(const boost::json::value& value, std::initializer_list<std::string_view> path);

// A string as it is, a boolean as "yes" or "no", a list with commas, anything else as JSON writes it; null is empty.
std::string text_of(const boost::json::value* value);
std::string text_at(const boost::json::value& value, std::initializer_list<std::string_view> path);

// An empty list for what is not one.
const boost::json::array& list_at(const boost::json::value& value, std::initializer_list<std::string_view> path);

}  // namespace underpass::cli
