// SPDX-License-Identifier: Apache-2.0
// OpenSSL's keys and certificates as values with an owner, and their PEM.
#pragma once

#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/result.h"

namespace underpass::ca {

using WallTime = std::chrono::system_clock::time_point;
using CertificatePtr = std::shared_ptr<X509>;
using KeyPtr = std::shared_ptr<EVP_PKEY>;

// A certificate and the key that it is about.
struct KeyPair {
  CertificatePtr certificate;
  KeyPtr key;
};

// What OpenSSL complains of, in its words: "no start line". Empties its queue.
std::string openssl_cause();

Result<KeyPtr> make_p256_key();

// Text between the blocks is skipped; a block that is no certificate, a key above all, is an error, and so is none.
Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem);
// One key, not encrypted.
Result<KeyPtr> parse_key(std::string_view pem);

std::string to_pem(std::span<const CertificatePtr> certificates);
std::string to_pem(const KeyPtr& key);  // PKCS #8

bool same(const CertificatePtr& a, const CertificatePtr& b);

}  // namespace underpass::ca
