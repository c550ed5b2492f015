// SPDX-License-Identifier: Apache-2.0
#include "test/unit/jwt_signer.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <stdexcept>

namespace underpass::test {

namespace {

void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}

const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::size_t coordinate(std::string_view crv) { return crv == "P-256" ? 32 : crv == "P-384" ? 48 : 66; }

std::string padded(const BIGNUM* number, std::size_t size) {
  std::string out(size, '\0');
  require(::BN_bn2binpad(number, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(size)) > 0,
          "BN_bn2bin");
  return out;
}

std::string raw_of_der(const std::string& der, std::size_t size) {
  const auto* at = bytes(der);
  ECDSA_SIG* both = ::d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  require(both != nullptr, "d2i_ECDSA_SIG");
  auto out = padded(::ECDSA_SIG_get0_r(both), size) + padded(::ECDSA_SIG_get0_s(both), size);
  ::ECDSA_SIG_free(both);
  return out;
}

}  // namespace

std::string encode_base64url(std::string_view text) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  unsigned bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    bits = bits << 8U | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) out += kAlphabet[bits >> (count - 6) & 63U];
  }
  if (count != 0) out += kAlphabet[bits << (6 - count) & 63U];
  return out;
}

Signer::Signer(EVP_PKEY* key) : key_(key, &::EVP_PKEY_free) { require(key != nullptr, "no key"); }

Signer Signer::rsa(unsigned bits) {
  return Signer(::EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(bits)));
}

Signer Signer::curve(const std::string& crv) {
  Signer signer(::EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", crv.c_str()));
  signer.crv_ = crv;
  return signer;
}

Signer Signer::edwards(const std::string& crv) {
  Signer signer(::EVP_PKEY_Q_keygen(nullptr, nullptr, crv == "Ed448" ? "ED448" : "ED25519"));
  signer.crv_ = crv;
  return signer;
}

std::string Signer::number(const char* name) const {
  BIGNUM* number = nullptr;
  require(::EVP_PKEY_get_bn_param(key_.get(), name, &number) == 1, name);
  auto out = padded(number, crv_.empty() ? static_cast<std::size_t>(BN_num_bytes(number)) : coordinate(crv_));
  ::BN_free(number);
  return out;
}

std::string Signer::raw() const {
  std::size_t size = 0;
  ::EVP_PKEY_get_raw_public_key(key_.get(), nullptr, &size);
  std::string out(size, '\0');
  ::EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(out.data()), &size);
  return out;
}

std::string Signer::jwk(const std::string& more) const {
  const auto end = (more.empty() ? "" : "," + more) + "}";
  if (crv_.empty())
    return R"({"kty":"RSA","n":")" + encode_base64url(number(OSSL_PKEY_PARAM_RSA_N)) + R"(","e":")" +
           encode_base64url(number(OSSL_PKEY_PARAM_RSA_E)) + "\"" + end;
  if (crv_.starts_with("Ed"))
    return R"({"kty":"OKP","crv":")" + crv_ + R"(","x":")" + encode_base64url(raw()) + "\"" + end;
  return R"({"kty":"EC","crv":")" + crv_ + R"(","x":")" + encode_base64url(number(OSSL_PKEY_PARAM_EC_PUB_X)) +
         R"(","y":")" + encode_base64url(number(OSSL_PKEY_PARAM_EC_PUB_Y)) + "\"" + end;
}

std::string Signer::sign(std::string_view algorithm, std::string_view text) const {
  const auto digest = algorithm == "EdDSA" ? std::string() : "SHA" + std::string(algorithm.substr(2));
  const std::shared_ptr<EVP_MD_CTX> context(::EVP_MD_CTX_new(), &::EVP_MD_CTX_free);
  EVP_PKEY_CTX* key_context = nullptr;
  require(::EVP_DigestSignInit_ex(context.get(), &key_context, digest.empty() ? nullptr : digest.c_str(), nullptr,
                                  nullptr, key_.get(), nullptr) == 1,
          "EVP_DigestSignInit_ex");
  if (algorithm.starts_with("PS")) {
    ::EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING);
    ::EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST);
  }
  std::size_t size = 0;
  ::EVP_DigestSign(context.get(), nullptr, &size, bytes(text), text.size());
  std::string out(size, '\0');
  require(::EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes(text),
                           text.size()) == 1,
          "EVP_DigestSign");
  out.resize(size);
  return algorithm.starts_with("ES") ? raw_of_der(out, coordinate(crv_)) : out;
}

std::string Signer::token_of(std::string_view algorithm, std::string_view header, std::string_view payload) const {
  const auto text = encode_base64url(header) + "." + encode_base64url(payload);
  return text + "." + encode_base64url(sign(algorithm, text));
}

std::string Signer::token(const std::string& algorithm, const std::string& payload, const std::string& more) const {
  return token_of(algorithm, R"({"alg":")" + algorithm + "\"" + (more.empty() ? "" : "," + more) + "}", payload);
}

}  // namespace underpass::test
