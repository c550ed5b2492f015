// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api_tls.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <stdexcept>

namespace underpass::test {
namespace {

using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

void check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

Key make_key() {
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  check(key != nullptr, "EVP_EC_gen");
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

void add_extension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()), X509_EXTENSION_free);
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, value.c_str());
}

Certificate blank(const FakeSubject& subject, EVP_PKEY* key) {
  Certificate out(X509_new(), X509_free);
  check(out != nullptr, "X509_new");
  X509_set_version(out.get(), X509_VERSION_3);
  std::uint32_t serial = 0;
  check(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "RAND_bytes");
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(out.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(out.get()), static_cast<long>(subject.from.count()));
  X509_gmtime_adj(X509_getm_notAfter(out.get()), static_cast<long>(subject.until.count()));
  X509_set_pubkey(out.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(subject.name.c_str()), -1, -1, 0);
  return out;
}

}  // namespace

FakeAuthority::FakeAuthority(const std::string& name) : key_(make_key()) {
  certificate_ = blank({.name = name}, key_.get());
  X509_set_issuer_name(certificate_.get(), X509_get_subject_name(certificate_.get()));
  add_extension(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate_.get(), certificate_.get(), NID_key_usage, "critical,keyCertSign");
  add_extension(certificate_.get(), certificate_.get(), NID_subject_key_identifier, "hash");
  check(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) > 0, "X509_sign");
  pem_ = to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate_.get()); });
}

FakeIdentity FakeAuthority::issue(const FakeSubject& subject) const {
  const Key key = make_key();
  const Certificate certificate = blank(subject, key.get());
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get()));
  const bool server = !subject.names.empty();
  add_extension(certificate.get(), certificate_.get(), NID_ext_key_usage, server ? "serverAuth" : "clientAuth");
  if (server) add_extension(certificate.get(), certificate_.get(), NID_subject_alt_name, subject.names);
  check(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0, "X509_sign");
  return {to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); }), to_pem([&](BIO* bio) {
            return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

}  // namespace underpass::test
