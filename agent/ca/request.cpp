// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/request.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <array>

#include "agent/ca/issue.h"
#include "underpass/spiffe_id.h"

namespace underpass::ca {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 10;

using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;
using RequestPtr = std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)>;

void free_extensions(STACK_OF(X509_EXTENSION) * extensions) {
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}
using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), decltype(&free_extensions)>;

bool add_identity(X509_REQ* request, const std::string& identity) {
  const auto names = uri_name(identity);
  STACK_OF(X509_EXTENSION)* list = nullptr;
  const bool made = names && X509V3_add1_i2d(&list, NID_subject_alt_name, names.get(), 1, X509V3_ADD_DEFAULT) == 1;
  const ExtensionsPtr extensions(list, free_extensions);
  return made && X509_REQ_add_extensions(request, extensions.get()) == 1;
}

Result<RequestPtr> read(std::string_view pem) {
  if (pem.size() > kMostBytes) return fail(std::to_string(pem.size()) + " bytes: too long");
  // What stands before a block OpenSSL skips, other blocks too.
  if (!pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"))
    return fail("no certificate request in PEM: it begins otherwise");
  ERR_clear_error();
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr), X509_REQ_free);
  if (!request) return fail("no certificate request in PEM: " + openssl_cause());
  std::array<char, 1> byte{};
  if (BIO_read(bio.get(), byte.data(), 1) > 0) return fail("something follows the request");
  return request;
}

Result<KeyPtr> key_of(X509_REQ* request) {
  KeyPtr key(X509_REQ_get_pubkey(request), EVP_PKEY_free);
  std::array<char, 32> group{};
  int spelled_out = 0;  // the curve's parameters in place of its name
  if (!key ||
      EVP_PKEY_get_utf8_string_param(key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size(), nullptr) != 1 ||
      std::string_view(group.data()) != SN_X9_62_prime256v1 ||
      EVP_PKEY_get_int_param(key.get(), OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &spelled_out) != 1 ||
      spelled_out != 0)
    return fail("its key is not of P-256");
  if (X509_REQ_verify(request, key.get()) != 1) return fail("it is not signed with its key");
  return key;
}

// The only name that the only extension says.
Result<std::string> identity_of(X509_REQ* request) {
  if (X509_NAME_entry_count(X509_REQ_get_subject_name(request)) != 0) return fail("it has a subject");
  const ExtensionsPtr extensions(X509_REQ_get_extensions(request), free_extensions);
  if (X509_REQ_get_attr_count(request) != 1 || !extensions || sk_X509_EXTENSION_num(extensions.get()) != 1)
    return fail("it asks for more, or other, than a subject alternative name");
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions.get(), NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  if (!names) return fail("it has no subject alternative name");
  if (sk_GENERAL_NAME_num(names.get()) != 1) return fail("it has not one name");
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
  if (name->type != GEN_URI) return fail("its name is no URI");
  const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
  std::string identity(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       static_cast<std::size_t>(ASN1_STRING_length(text)));
  if (const auto id = parse_spiffe_id(identity); !id) return std::unexpected(id.error());
  return identity;
}

}  // namespace

Result<Request> make_request(const std::string& identity) {
  if (const auto id = parse_spiffe_id(identity); !id) return std::unexpected(id.error());
  auto key = make_p256_key();
  if (!key) return std::unexpected(key.error());
  const RequestPtr request(X509_REQ_new(), X509_REQ_free);
  const BioPtr bio(BIO_new(BIO_s_mem()), BIO_free);
  char* text = nullptr;
  if (!request || X509_REQ_set_pubkey(request.get(), key->get()) != 1 || !add_identity(request.get(), identity) ||
      X509_REQ_sign(request.get(), key->get(), EVP_sha256()) <= 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1)
    return fail("make a certificate request: " + openssl_cause());
  const auto size = static_cast<std::size_t>(BIO_get_mem_data(bio.get(), &text));
  return Request{.key = std::move(*key), .pem = {text, size}};
}

Result<Asked> parse_request(std::string_view pem) {
  const auto request = read(pem);
  if (!request) return std::unexpected(request.error());
  auto key = key_of(request->get());
  if (!key) return std::unexpected(key.error());
  auto identity = identity_of(request->get());
  if (!identity) return std::unexpected(identity.error());
  return Asked{.key = std::move(*key), .identity = std::move(*identity)};
}

}  // namespace underpass::ca
