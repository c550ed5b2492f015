// SPDX-License-Identifier: Apache-2.0
// Certificate signing requests for SVIDs (PKCS #10, RFC 2986): made by whoever has no authority, and read by one. A
// request says a key and an identity; anything else in it is refused, since it would be the asker's word in our
// certificate.
#pragma once

#include <string>
#include <string_view>

#include "agent/ca/openssl.h"
#include "underpass/result.h"

namespace underpass::ca {

struct Request {
  KeyPtr key;       // new, P-256
  std::string pem;  // the request, signed with it
};

Result<Request> make_request(const std::string& identity);

struct Asked {
  KeyPtr key;            // the public half, P-256; the asker has shown that it has the other
  std::string identity;  // spiffe://…, as parse_spiffe_id() takes it; whether the asker may have it is another question
};

// One block "CERTIFICATE REQUEST" and nothing else, at most 16 KiB.
Result<Asked> parse_request(std::string_view pem);

}  // namespace underpass::ca
