// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/openssl.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace underpass::ca {
namespace {

using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;

BioPtr reading(std::string_view text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

// A block of PEM: what its first line says it is, and its bytes.
struct Block {
  std::string name;
  std::vector<unsigned char> bytes;
};

// False at the end.
Result<bool> read_block(BIO* bio, Block& out) {
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (PEM_read_bio(bio, &name, &header, &data, &size) != 1) {
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) return fail("damaged PEM: " + openssl_cause());
    ERR_clear_error();
    return false;
  }
  out = {.name = name, .bytes = {data, data + size}};
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_clear_free(data, static_cast<std::size_t>(size));
  return true;
}

Result<CertificatePtr> to_certificate(const Block& block) {
  if (block.name != PEM_STRING_X509) return fail("is a " + block.name + ": only certificates belong here");
  const unsigned char* at = block.bytes.data();
  CertificatePtr out(d2i_X509(nullptr, &at, static_cast<long>(block.bytes.size())), X509_free);
  if (!out) return fail("not a certificate: " + openssl_cause());
  if (at != block.bytes.data() + block.bytes.size()) return fail("bytes follow the certificate");
  return out;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// No question at a terminal for the passphrase of an encrypted key.
int refuse_passphrase(char*, int, int, void*) { return -1; }

}  // namespace

std::string openssl_cause() {
  const auto code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "unknown cause" : reason;
}

Result<KeyPtr> make_p256_key() {
  KeyPtr key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  if (!key) return fail("make a key: " + openssl_cause());
  return key;
}

Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem) {
  ERR_clear_error();
  const auto bio = reading(pem);
  std::vector<CertificatePtr> out;
  for (Block block;;) {
    const auto which = "certificate " + std::to_string(out.size() + 1);
    const auto found = read_block(bio.get(), block);
    if (!found) return fail_in(which, found.error());
    if (!*found) break;
    auto certificate = to_certificate(block);
    if (!certificate) return fail_in(which, certificate.error());
    out.push_back(std::move(*certificate));
  }
  if (out.empty()) return fail("no certificate in it");
  return out;
}

Result<KeyPtr> parse_key(std::string_view pem) {
  ERR_clear_error();
  const auto bio = reading(pem);
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse_passphrase, nullptr), EVP_PKEY_free);
  if (key) return key;
  (void)openssl_cause();  // which of its decoders was the last to give up
  return fail("no private key in PEM, without a passphrase, that can be read");
}

std::string to_pem(std::span<const CertificatePtr> certificates) {
  const BioPtr bio(BIO_new(BIO_s_mem()), BIO_free);
  for (const auto& one : certificates) PEM_write_bio_X509(bio.get(), one.get());
  return text_of(bio.get());
}

std::string to_pem(const KeyPtr& key) {
  const BioPtr bio(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return text_of(bio.get());
}

bool same(const CertificatePtr& a, const CertificatePtr& b) { return a && b && X509_cmp(a.get(), b.get()) == 0; }

}  // namespace underpass::ca
