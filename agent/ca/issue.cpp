// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/issue.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "agent/ca/details.h"
#include "underpass/spiffe_id.h"

namespace underpass::ca {
namespace {

constexpr int kSerialBits = 128;

bool set_random_serial(X509* certificate) {
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(BN_new(), BN_free);
  return number && BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_validity(X509* certificate, WallTime from, WallTime until) {
  using std::chrono::system_clock;
  return ASN1_TIME_set(X509_getm_notBefore(certificate), system_clock::to_time_t(from)) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), system_clock::to_time_t(until)) != nullptr;
}

bool add_extension(X509* certificate, X509* issuer, int id, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, id, value), X509_EXTENSION_free);
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool add_uri(X509* certificate, const std::string& uri) {
  const auto names = uri_name(uri);
  // Critical, since there is no subject (RFC 5280, 4.2.1.6).
  return names && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 1, X509V3_ADD_DEFAULT) == 1;
}

// With a number of its own: two roots of one name would be mixed up by who looks for an issuer.
bool set_name(X509* certificate, const char* role) {
  std::array<unsigned char, 4> number{};
  if (RAND_bytes(number.data(), number.size()) != 1) return false;
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "Underpass %s %02x%02x%02x%02x", role, number[0], number[1], number[2],
                number[3]);
  return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>(text.data()), -1, -1, 0) == 1;
}

Result<KeyPair> blank(Result<KeyPtr> key, const Validity& validity, WallTime latest) {
  if (!key) return std::unexpected(key.error());
  KeyPair out{.certificate = {X509_new(), X509_free}, .key = std::move(*key)};
  X509* certificate = out.certificate.get();
  const auto until = std::min(validity.now + validity.lasts, latest);
  if (certificate == nullptr || X509_set_version(certificate, X509_VERSION_3) != 1 || !set_random_serial(certificate) ||
      !set_validity(certificate, validity.now - kBackdated, until) || X509_set_pubkey(certificate, out.key.get()) != 1)
    return fail("make a certificate: " + openssl_cause());
  return out;
}

// The hash is part of the scheme for Ed25519 and Ed448.
const EVP_MD* digest_for(EVP_PKEY* key) {
  const int type = EVP_PKEY_get_base_id(key);
  return type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448 ? nullptr : EVP_sha256();
}

Result<KeyPair> sign(KeyPair subject, const KeyPair& issuer) {
  X509* certificate = subject.certificate.get();
  if (X509_set_issuer_name(certificate, X509_get_subject_name(issuer.certificate.get())) != 1 ||
      X509_sign(certificate, issuer.key.get(), digest_for(issuer.key.get())) <= 0)
    return fail("sign a certificate: " + openssl_cause());
  return subject;
}

// The identifier of the issuer's key, where the issuer says one.
bool add_issuer_key(X509* certificate, X509* issuer) {
  return X509_get0_subject_key_id(issuer) == nullptr ||
         add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always");
}

bool add_authority_extensions(X509* certificate, const char* constraints) {
  return add_extension(certificate, certificate, NID_basic_constraints, constraints) &&
         add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
         add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
}

}  // namespace

Result<KeyPair> make_root(const Validity& validity) {
  auto out = blank(make_p256_key(), validity, WallTime::max());
  if (!out) return out;
  X509* certificate = out->certificate.get();
  if (!set_name(certificate, "root") || !add_authority_extensions(certificate, "critical,CA:TRUE"))
    return fail("make a root: " + openssl_cause());
  const KeyPair self = *out;
  return sign(std::move(*out), self);
}

Result<KeyPair> make_intermediate(const KeyPair& root, const Validity& validity) {
  auto out = blank(make_p256_key(), validity, not_after(root.certificate));
  if (!out) return out;
  X509* certificate = out->certificate.get();
  if (!set_name(certificate, "intermediate") || !add_authority_extensions(certificate, "critical,CA:TRUE,pathlen:0") ||
      !add_issuer_key(certificate, root.certificate.get()))
    return fail("make an intermediate: " + openssl_cause());
  return sign(std::move(*out), root);
}

Result<KeyPair> make_svid(const KeyPair& issuer, const std::string& identity, const Validity& validity) {
  auto key = make_p256_key();
  if (!key) return std::unexpected(key.error());
  auto certificate = sign_svid(issuer, identity, *key, validity);
  if (!certificate) return std::unexpected(certificate.error());
  return KeyPair{.certificate = std::move(*certificate), .key = std::move(*key)};
}

Result<CertificatePtr> sign_svid(const KeyPair& issuer, const std::string& identity, const KeyPtr& key,
                                 const Validity& validity) {
  if (const auto id = parse_spiffe_id(identity); !id) return std::unexpected(id.error());
  auto out = blank(key, validity, not_after(issuer.certificate));
  if (!out) return std::unexpected(out.error());
  X509* certificate = out->certificate.get();
  X509* above = issuer.certificate.get();
  if (!add_extension(certificate, above, NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(certificate, above, NID_key_usage, "critical,digitalSignature") ||
      !add_extension(certificate, above, NID_ext_key_usage, "serverAuth,clientAuth") ||
      !add_issuer_key(certificate, above) || !add_uri(certificate, identity))
    return fail("make a certificate: " + openssl_cause());
  auto done = sign(std::move(*out), issuer);
  if (!done) return std::unexpected(done.error());
  return done->certificate;
}

std::unique_ptr<GENERAL_NAMES, void (*)(GENERAL_NAMES*)> uri_name(const std::string& uri) {
  std::unique_ptr<GENERAL_NAMES, void (*)(GENERAL_NAMES*)> none(nullptr, GENERAL_NAMES_free);
  std::unique_ptr<GENERAL_NAMES, void (*)(GENERAL_NAMES*)> names(GENERAL_NAMES_new(), GENERAL_NAMES_free);
  std::unique_ptr<GENERAL_NAME, decltype(&GENERAL_NAME_free)> name(GENERAL_NAME_new(), GENERAL_NAME_free);
  std::unique_ptr<ASN1_IA5STRING, decltype(&ASN1_IA5STRING_free)> text(ASN1_IA5STRING_new(), ASN1_IA5STRING_free);
  // Not by OpenSSL's configuration language, in which a text can say more than one name.
  if (!names || !name || !text || ASN1_STRING_set(text.get(), uri.data(), static_cast<int>(uri.size())) != 1)
    return none;
  GENERAL_NAME_set0_value(name.get(), GEN_URI, text.release());
  if (sk_GENERAL_NAME_push(names.get(), name.get()) == 0) return none;
  (void)name.release();
  return names;
}

}  // namespace underpass::ca
