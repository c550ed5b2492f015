// SPDX-License-Identifier: Apache-2.0
// The issuer's side: private keys that a test makes, their public halves as JWK, and tokens of any header and payload.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

namespace underpass::test {

std::string encode_base64url(std::string_view bytes);

class Signer {
 public:
  static Signer rsa(unsigned bits = 2048);
  static Signer curve(const std::string& crv);    // "P-256", "P-384", "P-521"
  static Signer edwards(const std::string& crv);  // "Ed25519", "Ed448"

  // {"kty":…,…}; `more` are members to be added: R"("kid":"a")".
  [[nodiscard]] std::string jwk(const std::string& more = "") const;
  // {"keys":[…]} with this one.
  [[nodiscard]] std::string set(const std::string& more = "") const { return R"({"keys":[)" + jwk(more) + "]}"; }
  // As JOSE has it: of curves r and s one after the other.
  [[nodiscard]] std::string sign(std::string_view algorithm, std::string_view text) const;
  // Header {"alg":…,`more`}.
  [[nodiscard]] std::string token(const std::string& algorithm, const std::string& payload,
                                  const std::string& more = "") const;
  [[nodiscard]] std::string token_of(std::string_view algorithm, std::string_view header,
                                     std::string_view payload) const;
  [[nodiscard]] std::string number(const char* name) const;  // of the public key, big endian

 private:
  explicit Signer(EVP_PKEY* key);
  [[nodiscard]] std::string raw() const;

  std::shared_ptr<EVP_PKEY> key_;
  std::string crv_;
};

}  // namespace underpass::test
