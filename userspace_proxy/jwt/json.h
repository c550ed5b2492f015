// SPDX-License-Identifier: Apache-2.0
// JSON that somebody signed and two readers must not read differently (RFC 7515 §4, RFC 7519 §4): an object, without a
// member that is there twice, of bounded depth. Of two members with the same name Boost.JSON takes the last and says
// nothing.
#pragma once

#include <boost/json/object.hpp>
#include <string_view>

#include "underpass/result.h"

namespace underpass::jwt {

inline constexpr std::size_t kMaxJsonDepth = 32;

Result<boost::json::object> parse_object(std::string_view text);

}  // namespace underpass::jwt
