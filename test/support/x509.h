// SPDX-License-Identifier: Apache-2.0
// Certificates by OpenSSL, for authorities of tests. What fails throws.
#pragma once

#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <string>

namespace underpass::test::x509 {

using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

void check(bool ok, const std::string& what);

Key make_key(bool rsa = false);  // P-256, or RSA of 2048 bits
std::string pem_of(X509* certificate);
std::string pem_of(EVP_PKEY* key);  // PKCS #8

// Of this key, without extensions and not signed yet; times from now. An empty name is an empty subject.
Certificate blank(const std::string& common_name, std::chrono::seconds from, std::chrono::seconds until, EVP_PKEY* key);
// As openssl.cnf has it: NID_key_usage, "critical,keyCertSign". `issuer` is itself for a root.
void add_extension(X509* certificate, X509* issuer, int id, const std::string& value);
void sign(X509* certificate, X509* issuer, EVP_PKEY* key);

}  // namespace underpass::test::x509
