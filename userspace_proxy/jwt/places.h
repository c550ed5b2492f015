// SPDX-License-Identifier: Apache-2.0
// Where tokens are looked for in a request, and how one is taken out of it again without a change to what stands
// around it. As Envoy does, a header's every line is looked at, and one without the prefix is no token; beyond Envoy,
// so is every parameter and every cookie of a name, since nobody knows which of them the server will take.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "underpass/model/policy.h"
#include "userspace_proxy/http/message.h"

namespace underpass::jwt {

struct Place {
  enum class Kind : std::uint8_t { kHeader, kParam, kCookie };
  Kind kind = Kind::kHeader;
  std::string name;    // of headers in lower case
  std::string prefix;  // of headers: "Bearer "; case does not count, since schemes have none (RFC 9110 §11.1)

  auto operator<=>(const Place&) const = default;
};

// Of a rule; without one of its own the default ones.
std::vector<Place> places_of(const model::JwtRule& rule);

struct Found {
  std::size_t place = 0;  // index of `places`
  std::string token;
  std::size_t field = 0;  // the line; of parameters nothing
  std::size_t begin = 0;  // of parameters and cookies: where it begins in the query or in the line
};

// More than `most` are not looked for.
std::vector<Found> find_tokens(const http::Request& request, std::span<const Place> places, std::size_t most);

// `gone` is some of what was found in this request, which was not changed since.
void remove_tokens(http::Request& request, std::span<const Place> places, std::span<const Found> gone);

}  // namespace underpass::jwt
