// SPDX-License-Identifier: Apache-2.0
// Which texts are SPIFFE ids of service accounts
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, Istio's form of the path).
#pragma once

#include <string_view>

#include "underpass/result.h"

namespace underpass::ca {

// spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, at most 2,048 bytes: of the domain a-z 0-9 . - _, of namespace and
// account A-Z too, and neither is "." or "..".
Result<void> check_identity(std::string_view identity);

}  // namespace underpass::ca
