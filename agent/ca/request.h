// SPDX-License-Identifier: Apache-2.0
// Certificate signing requests for SVIDs (PKCS #10, RFC 2986): made by whoever has no authority, and read by one. A
// request says a key and an identity; anything else in it is refused, since it would be the asker's word in our
// certificate.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "agent/ca/openssl.h"
#include "underpass/result.h"

namespace underpass::ca {

// As what they are asked for in a cluster: CertificateSigningRequests (certificates.k8s.io/v1) to this signer, with
// these usages, what an SVID is good for, no more and no less.
inline constexpr const char* kRequestsPath = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
inline constexpr const char* kSignerName = "underpass.dev/workload";
inline constexpr std::array kUsages{"digital signature", "client auth", "server auth"};

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
