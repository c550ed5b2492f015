// SPDX-License-Identifier: Apache-2.0
// Who signs, as the files of a folder say it: read as a whole and checked, so that what is signed is believed by
// whoever has the bundle.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/ca/authority_files.h"
#include "agent/ca/openssl.h"
#include "underpass/result.h"

namespace underpass::ca {

struct Authority {
  KeyPair issuer;                         // ca-cert.pem, ca-key.pem
  std::vector<CertificatePtr> bundle;     // root-cert.pem
  std::vector<CertificatePtr> given;      // cert-chain.pem, as it is there
  std::optional<KeyPair> root;            // whose key is in root-key.pem: the folder is our own
  std::optional<KeyPair> next_root;       // ... in next-root-key.pem
  std::optional<CertificatePtr> retired;  // old-root-cert.pem

  // Of check_authority():
  std::vector<CertificatePtr> chain;  // from the issuer to below its root; empty: the issuer is a root itself
  CertificatePtr anchor;              // that root
  WallTime ends;                      // when the first of chain and root does
};

// What fits together: keys with certificates, authorities that may sign. Not whether it is time yet.
Result<Authority> parse_authority(const AuthorityFiles& folder, const Files& files);

// Fills in the rest: the way from the issuer to a root of the bundle, good at `now`.
Result<void> check_authority(const AuthorityFiles& folder, Authority& authority, WallTime now);

// The way from `leaf` up to a root of `trusted`, both with it, good at `now`.
Result<std::vector<CertificatePtr>> verify_chain(const CertificatePtr& leaf, const std::vector<CertificatePtr>& between,
                                                 const std::vector<CertificatePtr>& trusted, WallTime now);

// Whether a peer that has the bundle believes this certificate of the issuer's.
Result<void> check_issued(const Authority& authority, const CertificatePtr& leaf, WallTime now);

}  // namespace underpass::ca
