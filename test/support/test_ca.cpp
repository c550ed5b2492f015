// SPDX-License-Identifier: Apache-2.0
#include "test/support/test_ca.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <array>
#include <stdexcept>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace {

using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

constexpr auto kYear = std::chrono::hours(24 * 365);

void check(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error("OpenSSL: " + what);
}

Key make_key(bool rsa) {
  Key key(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"), EVP_PKEY_free);
  check(key != nullptr, "no key");
  return key;
}

template <typename Write>
std::string to_pem(const Write& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  check(write(bio.get()) == 1, "PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

std::string pem_of(EVP_PKEY* key) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

void add(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()), X509_EXTENSION_free);
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, value);
}

Certificate blank(const std::string& common_name, std::chrono::seconds from, std::chrono::seconds until,
                  EVP_PKEY* key) {
  Certificate out(X509_new(), X509_free);
  check(out != nullptr, "X509_new");
  X509_set_version(out.get(), X509_VERSION_3);
  std::array<unsigned char, 16> serial{};
  check(RAND_bytes(serial.data(), serial.size()) == 1, "RAND_bytes");
  serial[0] = (serial[0] & 0x3f) | 0x40;
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(BN_bin2bn(serial.data(), serial.size(), nullptr), BN_free);
  check(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(out.get())) != nullptr, "serial");
  X509_gmtime_adj(X509_getm_notBefore(out.get()), static_cast<long>(from.count()));
  X509_gmtime_adj(X509_getm_notAfter(out.get()), static_cast<long>(until.count()));
  X509_set_pubkey(out.get(), key);
  if (!common_name.empty())
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.data()),
                               static_cast<int>(common_name.size()), -1, 0);
  return out;
}

void add_names(X509* certificate, const SvidFields& fields) {
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(GENERAL_NAMES_new(), GENERAL_NAMES_free);
  const auto push = [&](int type, const std::string& text) {
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    check(ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) == 1, "name");
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type, value);
    check(sk_GENERAL_NAME_push(names.get(), name) > 0, "name");
  };
  for (const auto& uri : fields.uris) push(GEN_URI, uri);
  for (const auto& dns : fields.dns) push(GEN_DNS, dns);
  if (sk_GENERAL_NAME_num(names.get()) == 0) return;
  const int critical = fields.common_name.empty() ? 1 : 0;  // RFC 5280, 4.2.1.6
  check(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), critical, X509V3_ADD_DEFAULT) == 1, "SAN");
}

void write_secret(const fs::path& path, const std::string& text) {
  write_atomically(path, text);
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
}

}  // namespace

TestCa::TestCa(std::string trust_domain) : trust_domain_(std::move(trust_domain)) {
  const auto make = [&](const std::string& name, const Authority* issuer, const std::string& constraints) {
    Authority out{.key = make_key(false), .certificate = nullptr};
    out.certificate = blank(name, -std::chrono::hours(1), kYear, out.key.get());
    X509* own = out.certificate.get();
    X509* above = issuer != nullptr ? issuer->certificate.get() : own;
    X509_set_issuer_name(own, X509_get_subject_name(above));
    add(own, above, NID_basic_constraints, "critical,CA:TRUE" + constraints);
    add(own, above, NID_key_usage, "critical,keyCertSign,cRLSign");
    add(own, above, NID_subject_key_identifier, "hash");
    if (issuer != nullptr) add(own, above, NID_authority_key_identifier, "keyid:always");
    add(own, above, NID_subject_alt_name, "URI:spiffe://" + trust_domain_);
    check(X509_sign(own, issuer != nullptr ? issuer->key.get() : out.key.get(), EVP_sha256()) > 0, "X509_sign");
    return out;
  };
  root_ = make("test root of " + trust_domain_, nullptr, "");
  issuer_ = make("test issuer of " + trust_domain_, &root_, ",pathlen:0");
  root_pem_ = pem_of(root_.certificate.get());
  issuer_pem_ = pem_of(issuer_.certificate.get());
}

std::string TestCa::id(const std::string& ns, const std::string& account) const {
  return "spiffe://" + trust_domain_ + "/ns/" + ns + "/sa/" + account;
}

Svid TestCa::svid(const std::string& ns, const std::string& account) const {
  return issue({.uris = {id(ns, account)}});
}

Svid TestCa::issue(const SvidFields& fields) const {
  const Key key = make_key(fields.rsa);
  const Certificate certificate = blank(fields.common_name, fields.from, fields.until, key.get());
  X509* own = certificate.get();
  X509* issuer = issuer_.certificate.get();
  X509_set_issuer_name(own, X509_get_subject_name(issuer));
  add(own, issuer, NID_basic_constraints, fields.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add(own, issuer, NID_key_usage, fields.is_ca ? "critical,digitalSignature,keyCertSign" : "critical,digitalSignature");
  add(own, issuer, NID_authority_key_identifier, "keyid:always");
  const std::string usage =
      std::string(fields.server_auth ? ",serverAuth" : "") + (fields.client_auth ? ",clientAuth" : "");
  if (!usage.empty()) add(own, issuer, NID_ext_key_usage, usage.substr(1));
  add_names(own, fields);
  check(X509_sign(own, issuer_.key.get(), EVP_sha256()) > 0, "X509_sign");
  return {.chain = pem_of(own) + issuer_pem_, .key = pem_of(key.get())};
}

void TestCa::write_cacerts(const fs::path& folder, const std::string& more_roots) const {
  fs::create_directories(folder);
  fs::permissions(folder, fs::perms::owner_all);
  write_secret(folder / "root-cert.pem", root_pem_ + more_roots);
  write_secret(folder / "ca-cert.pem", issuer_pem_);
  write_secret(folder / "cert-chain.pem", issuer_pem_);
  write_secret(folder / "ca-key.pem", pem_of(issuer_.key.get()));
}

}  // namespace underpass::test
