// SPDX-License-Identifier: Apache-2.0
// What a good token gives the server to read: its payload, and claims of it, as headers (Istio's outputPayloadToHeader
// and outputClaimToHeaders).
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <span>
#include <string>

namespace underpass::jwt {

// A claim as a header's value: a string, a whole number in digits, another number as short as it can be, "true" or
// "false". Nothing: it is not there, is of another kind, is empty, or has what no field may have (RFC 9110 §5.5).
std::optional<std::string> claim_as_field(const boost::json::object& claims, std::span<const std::string> way);

}  // namespace underpass::jwt
