// SPDX-License-Identifier: Apache-2.0
// A jwks_uri taken apart, strictly: it comes from whoever may write a RequestAuthentication, and what it says must not
// be read differently by a check and by a resolver.
#pragma once

#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass::jwks {

struct Uri {
  bool tls = true;
  std::string host;    // in lower case, without brackets, without a dot at its end
  std::string port;    // "443"
  std::string target;  // path and query: "/keys?p=1"

  bool operator==(const Uri&) const = default;
};

// http or https, without user or fragment. A host that ends in a number is an IPv4 address as RFC 3986 has it and
// nothing else: C libraries read 127.1, 0177.0.0.1 and 2130706433 too.
Result<Uri> parse_uri(std::string_view text);

}  // namespace underpass::jwks
