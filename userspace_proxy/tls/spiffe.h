// SPDX-License-Identifier: Apache-2.0
// Who a certificate speaks for: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
#pragma once

#include <openssl/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass::tls {

// spiffe://TRUST DOMAIN/ns/NAMESPACE/sa/SERVICE ACCOUNT, as Istio has them. Views of the text that was parsed.
struct SpiffeId {
  std::string_view trust_domain;
  std::string_view ns;
  std::string_view account;
};

// None: it is no such ID, to the letter: no port, query, fragment, escape, empty or further part.
std::optional<SpiffeId> parse_spiffe_id(std::string_view text);

// The one URI among its subject alternative names. Its subject is not looked at. An error where there is none, more
// than one, or one that is no SpiffeId; and of an authority's certificate.
Result<std::string> spiffe_id_of(const X509& certificate);

}  // namespace underpass::tls
