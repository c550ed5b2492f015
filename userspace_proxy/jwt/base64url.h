// SPDX-License-Identifier: Apache-2.0
// base64url without padding, as JOSE has it (RFC 7515 §2), strictly: every value has one spelling, so that a token
// cannot be changed without its meaning being changed. OpenSSL's and Boost's decoders read other alphabets and pass
// over bits that are left over.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace underpass::jwt {

// Nothing: a character that is not of the alphabet ("=" is not), a length that none encodes to, or bits after the last
// byte that are not zero.
std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace underpass::jwt
