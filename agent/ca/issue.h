// SPDX-License-Identifier: Apache-2.0
// Makes certificates: a root, an intermediate that signs, and the SVIDs of pods. All keys are new and P-256; serials
// have 128 random bits; validity begins five minutes back, for peers whose clocks are behind, and never goes beyond the
// issuer's.
#pragma once

#include <openssl/x509v3.h>

#include <chrono>
#include <memory>
#include <string>

#include "agent/ca/openssl.h"
#include "underpass/result.h"

namespace underpass::ca {

inline constexpr std::chrono::minutes kBackdated(5);

struct Validity {
  WallTime now;
  std::chrono::seconds lasts{};  // from now
};

Result<KeyPair> make_root(const Validity& validity);

// May sign leaves alone (pathlen 0).
Result<KeyPair> make_intermediate(const KeyPair& root, const Validity& validity);

// An X.509 SVID (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md): no subject, the identity as its
// only name.
Result<KeyPair> make_svid(const KeyPair& issuer, const std::string& identity, const Validity& validity);
// The same for a key that is somebody else's: its public half.
Result<CertificatePtr> sign_svid(const KeyPair& issuer, const std::string& identity, const KeyPtr& key,
                                 const Validity& validity);

// A subject alternative name that is this URI, whatever characters it has; null: no memory.
std::unique_ptr<GENERAL_NAMES, void (*)(GENERAL_NAMES*)> uri_name(const std::string& uri);

}  // namespace underpass::ca
