// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/jwt/public_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <optional>

#include "userspace_proxy/jwt/base64url.h"

namespace underpass::jwt {
namespace json = boost::json;

namespace {

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* held) const {
    release(held);
  }
};
using Number = std::unique_ptr<BIGNUM, Release<&BN_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Release<&OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Release<&OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Release<&EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Release<&EVP_MD_CTX_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Release<&ECDSA_SIG_free>>;

struct Curve {
  std::string_view crv;
  KeyKind kind;
  std::size_t bytes;  // of a coordinate, and of r and of s
};
constexpr std::array kCurves{
    Curve{.crv = "P-256", .kind = KeyKind::kP256, .bytes = 32},
    Curve{.crv = "P-384", .kind = KeyKind::kP384, .bytes = 48},
    Curve{.crv = "P-521", .kind = KeyKind::kP521, .bytes = 66},
};

const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Number number(std::string_view big_endian) {
  return Number(::BN_bin2bn(bytes(big_endian), static_cast<int>(big_endian.size()), nullptr));
}

// A member that is a string; nothing: not there, or something else.
std::optional<std::string_view> text_of(const json::object& jwk, std::string_view name) {
  const auto* value = jwk.if_contains({name.data(), name.size()});
  const auto* text = value == nullptr ? nullptr : value->if_string();
  if (text == nullptr) return std::nullopt;
  return std::string_view(text->data(), text->size());
}

Result<std::string> octets_of(const json::object& jwk, std::string_view name) {
  const auto text = text_of(jwk, name);
  auto octets = text ? decode_base64url(*text) : std::nullopt;
  if (!octets || octets->empty()) return fail(std::string(name) + ": is missing, or not base64url");
  return std::move(*octets);
}

// The key that `fill` describes to OpenSSL, which refuses a point that is not on its curve.
template <typename Fill>
EVP_PKEY* key_from(const char* type, Fill fill) {
  const ParamBuilder builder(::OSSL_PARAM_BLD_new());
  if (!builder || !fill(builder.get())) return nullptr;
  const Params params(::OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext context(::EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (params && context && ::EVP_PKEY_fromdata_init(context.get()) == 1)
    ::EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get());
  ::ERR_clear_error();
  return key;
}

// RFC 7517 §4.2 and §4.3: what the key is for, where it says so.
Result<void> check_use(const json::object& jwk) {
  if (jwk.contains("use") && text_of(jwk, "use") != "sig") return fail("use: not \"sig\"");
  const auto* operations = jwk.if_contains("key_ops");
  if (operations == nullptr) return {};
  const auto* list = operations->if_array();
  const auto verifies = [](const json::value& operation) { return operation == json::string("verify"); };
  if (list == nullptr || std::ranges::none_of(*list, verifies)) return fail("key_ops: without \"verify\"");
  return {};
}

// r and s one after the other (RFC 7518 §3.4) as OpenSSL takes them; empty: not so long as the curve's are.
std::string der_of(std::string_view signature, std::size_t size) {
  if (signature.size() != 2 * size) return {};
  const EcSignature both(::ECDSA_SIG_new());
  auto r = number(signature.substr(0, size));
  auto s = number(signature.substr(size));
  if (!both || !r || !s || ::ECDSA_SIG_set0(both.get(), r.get(), s.get()) != 1) return {};
  static_cast<void>(r.release());
  static_cast<void>(s.release());
  unsigned char* der = nullptr;
  const int length = ::i2d_ECDSA_SIG(both.get(), &der);
  if (length <= 0) return {};
  std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(length));
  ::OPENSSL_free(der);
  return out;
}

bool set_padding(EVP_PKEY_CTX* context, Algorithm::Scheme scheme) {
  if (scheme == Algorithm::Scheme::kPkcs1) return ::EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
  if (scheme != Algorithm::Scheme::kPss) return true;
  // The salt is as long as the digest (RFC 7518 §3.5); the digest of MGF1 is the signature's by default.
  return ::EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         ::EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

bool verify_with(EVP_PKEY* key, const Algorithm& algorithm, std::string_view text, std::string_view signature) {
  const DigestContext context(::EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;  // the digest context's
  const bool good =
      context &&
      ::EVP_DigestVerifyInit_ex(context.get(), &key_context, algorithm.digest, nullptr, nullptr, key, nullptr) == 1 &&
      set_padding(key_context, algorithm.scheme) &&
      ::EVP_DigestVerify(context.get(), bytes(signature), signature.size(), bytes(text), text.size()) == 1;
  ::ERR_clear_error();  // whoever uses OpenSSL next on this thread looks at the queue
  return good;
}

}  // namespace

void PublicKey::Free::operator()(EVP_PKEY* key) const { ::EVP_PKEY_free(key); }

Result<PublicKey> PublicKey::rsa(const json::object& jwk) {
  const auto n = octets_of(jwk, "n");
  if (!n) return std::unexpected(n.error());
  const auto e = octets_of(jwk, "e");
  if (!e) return std::unexpected(e.error());
  const auto modulus = number(*n);
  const auto exponent = number(*e);
  if (!modulus || !exponent) return fail("out of memory");
  const int bits = ::BN_num_bits(modulus.get());
  if (bits < kMinRsaBits || bits > kMaxRsaBits) return fail("n: " + std::to_string(bits) + " bits");
  // With 1 every message is its own signature.
  if (::BN_is_odd(modulus.get()) == 0 || ::BN_is_odd(exponent.get()) == 0 || ::BN_is_one(exponent.get()) == 1 ||
      ::BN_num_bits(exponent.get()) > 32)
    return fail("n or e: not of an RSA key");
  std::unique_ptr<EVP_PKEY, Free> key(key_from("RSA", [&](OSSL_PARAM_BLD* builder) {
    return ::OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus.get()) == 1 &&
           ::OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent.get()) == 1;
  }));
  if (!key) return fail("not an RSA key");
  return PublicKey(std::move(key), KeyKind::kRsa);
}

Result<PublicKey> PublicKey::elliptic(const json::object& jwk) {
  const auto crv = text_of(jwk, "crv").value_or("");
  const auto* curve = std::ranges::find(kCurves, crv, &Curve::crv);
  if (curve == kCurves.end()) return fail("crv: not a curve that is known");
  const auto x = octets_of(jwk, "x");
  if (!x) return std::unexpected(x.error());
  const auto y = octets_of(jwk, "y");
  if (!y) return std::unexpected(y.error());
  if (x->size() != curve->bytes || y->size() != curve->bytes) return fail("x or y: not as long as the curve's");
  const std::string point = "\x04" + *x + *y;
  const std::string group(crv);
  std::unique_ptr<EVP_PKEY, Free> key(key_from("EC", [&](OSSL_PARAM_BLD* builder) {
    return ::OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, group.c_str(), 0) == 1 &&
           ::OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) == 1;
  }));
  if (!key) return fail("x and y: not a point of the curve");
  return PublicKey(std::move(key), curve->kind);
}

Result<PublicKey> PublicKey::edwards(const json::object& jwk) {
  const auto crv = text_of(jwk, "crv").value_or("");
  if (crv != "Ed25519" && crv != "Ed448") return fail("crv: not a curve that signs");
  const auto x = octets_of(jwk, "x");
  if (!x) return std::unexpected(x.error());
  const bool small = crv == "Ed25519";
  std::unique_ptr<EVP_PKEY, Free> key(
      ::EVP_PKEY_new_raw_public_key_ex(nullptr, small ? "ED25519" : "ED448", nullptr, bytes(*x), x->size()));
  ::ERR_clear_error();
  if (!key) return fail("x: not as long as the curve's");
  return PublicKey(std::move(key), small ? KeyKind::kEd25519 : KeyKind::kEd448);
}

Result<PublicKey> PublicKey::from_jwk(const json::object& jwk) {
  const auto kty = text_of(jwk, "kty").value_or("");
  if (const auto use = check_use(jwk); !use) return std::unexpected(use.error());
  auto key = kty == "RSA"   ? rsa(jwk)
             : kty == "EC"  ? elliptic(jwk)
             : kty == "OKP" ? edwards(jwk)
                            : fail("kty: not a kind that is known");
  if (!key) return key;
  if (jwk.contains("kid")) {
    const auto kid = text_of(jwk, "kid");
    if (!kid) return fail("kid: not a string");
    key->kid_ = *kid;
  }
  if (jwk.contains("alg")) {
    key->only_ = find_algorithm(text_of(jwk, "alg").value_or(""));
    if (key->only_ == nullptr || !key->only_->fits(key->kind_)) return fail("alg: not one of this kind of key");
  }
  return key;
}

bool PublicKey::may_verify(const Algorithm& algorithm) const {
  return algorithm.fits(kind_) && (only_ == nullptr || only_ == &algorithm);
}

bool PublicKey::verify(const Algorithm& algorithm, std::string_view text, std::string_view signature) const {
  if (!may_verify(algorithm)) return false;
  if (algorithm.scheme == Algorithm::Scheme::kEcdsa) {
    const auto* curve = std::ranges::find(kCurves, kind_, &Curve::kind);
    const auto der = der_of(signature, curve->bytes);
    return !der.empty() && verify_with(key_.get(), algorithm, text, der);
  }
  // Of RSA and EdDSA all signatures are of one length.
  if (signature.size() != static_cast<std::size_t>(::EVP_PKEY_get_size(key_.get()))) return false;
  return verify_with(key_.get(), algorithm, text, signature);
}

}  // namespace underpass::jwt
