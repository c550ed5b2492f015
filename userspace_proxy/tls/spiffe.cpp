// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/tls/spiffe.h"

#include <openssl/x509v3.h>

#include <memory>

#include "underpass/spiffe_id.h"

namespace underpass::tls {
namespace {

struct NamesDeleter {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

}  // namespace

Result<std::string> spiffe_id_of(const X509& certificate) {
  // X509-SVID §4.1: who signs is nobody that speaks.
  if (X509_check_ca(const_cast<X509*>(&certificate)) != 0) return fail("it is an authority's certificate");
  int how_many = 0;
  const std::unique_ptr<GENERAL_NAMES, NamesDeleter> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, &how_many, nullptr)));  // -2: the extension is there twice
  if (!names) return fail(how_many == -2 ? "subjectAltName is there twice" : "no subjectAltName");
  const ASN1_IA5STRING* uri = nullptr;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    if (uri != nullptr) return fail("more than one URI in subjectAltName");
    uri = name->d.uniformResourceIdentifier;
  }
  if (uri == nullptr) return fail("no URI in subjectAltName");
  // By its length, so that a NUL within it is a character like others, and none that an ID may have.
  std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                   static_cast<std::size_t>(ASN1_STRING_length(uri)));
  if (!parse_spiffe_id(text)) return fail("the URI in subjectAltName is no spiffe://TRUST-DOMAIN/ns/…/sa/…");
  return text;
}

}  // namespace underpass::tls
