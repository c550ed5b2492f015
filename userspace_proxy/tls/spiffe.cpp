// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/tls/spiffe.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

namespace underpass::tls {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::size_t kLongest = 2048;  // SPIFFE-ID §2.3

struct NamesDeleter {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

bool is_domain(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return is_plain(c) && !(c >= 'A' && c <= 'Z'); });
}

// A path segment of a SPIFFE ID.
bool is_segment(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && std::ranges::all_of(text, is_plain);
}

// Takes what stands before the next "/", and that.
std::string_view take_part(std::string_view& rest) {
  const auto end = rest.find('/');
  const auto part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return part;
}

}  // namespace

std::optional<SpiffeId> parse_spiffe_id(std::string_view text) {
  if (text.size() > kLongest || !text.starts_with(kScheme) || text.ends_with('/')) return std::nullopt;
  auto rest = text.substr(kScheme.size());
  SpiffeId id;
  id.trust_domain = take_part(rest);
  if (take_part(rest) != "ns") return std::nullopt;
  id.ns = take_part(rest);
  if (take_part(rest) != "sa") return std::nullopt;
  id.account = take_part(rest);
  if (!rest.empty() || !is_domain(id.trust_domain) || !is_segment(id.ns) || !is_segment(id.account))
    return std::nullopt;
  return id;
}

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
