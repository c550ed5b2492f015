// SPDX-License-Identifier: Apache-2.0
#include "test/support/x509.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <array>
#include <stdexcept>

namespace underpass::test::x509 {
namespace {

template <typename Write>
std::string to_pem(const Write& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  check(write(bio.get()) == 1, "PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

void check(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error("OpenSSL: " + what);
}

Key make_key(bool rsa) {
  Key key(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"), EVP_PKEY_free);
  check(key != nullptr, "no key");
  return key;
}

std::string pem_of(X509* certificate) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

std::string pem_of(EVP_PKEY* key) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
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

void add_extension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()), X509_EXTENSION_free);
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, value);
}

void sign(X509* certificate, X509* issuer, EVP_PKEY* key) {
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  check(X509_sign(certificate, key, EVP_sha256()) > 0, "X509_sign");
}

}  // namespace underpass::test::x509
