// SPDX-License-Identifier: Apache-2.0
// Who a certificate speaks for: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
#pragma once

#include <openssl/types.h>

#include <string>

#include "underpass/result.h"

namespace underpass::tls {

// The one URI among its subject alternative names. Its subject is not looked at. An error where there is none, more
// than one, or one that is no SpiffeId; and of an authority's certificate.
Result<std::string> spiffe_id_of(const X509& certificate);

}  // namespace underpass::tls
