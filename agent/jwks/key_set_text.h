// SPDX-License-Identifier: Apache-2.0
// Whether what was fetched looks like a key set: enough to keep the last good one when an issuer answers with a page of
// its load balancer. Which keys can be used, workers see (userspace_proxy/jwt).
#pragma once

#include <cstddef>
#include <string_view>

#include "underpass/result.h"

namespace underpass::jwks {

inline constexpr std::size_t kMaxSetBytes = std::size_t{1} << 20;

// A JSON object whose "keys" is a list with at least one object in it.
Result<void> check_key_set(std::string_view text);

}  // namespace underpass::jwks
