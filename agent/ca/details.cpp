// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/details.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>

namespace underpass::ca {
namespace {

std::string name_text(const X509_NAME* name) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string serial_text(const X509* certificate) {
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr), BN_free);
  char* text = number ? BN_bn2hex(number.get()) : nullptr;
  std::string out = text == nullptr ? "" : text;
  OPENSSL_free(text);
  return out;
}

std::string uri_of(const X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  if (!names || sk_GENERAL_NAME_num(names.get()) != 1) return "";
  const auto* name = sk_GENERAL_NAME_value(names.get(), 0);
  if (name->type != GEN_URI) return "";
  const auto* uri = name->d.uniformResourceIdentifier;
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)), static_cast<std::size_t>(ASN1_STRING_length(uri))};
}

WallTime to_wall(const ASN1_TIME* time) {
  std::tm fields{};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

}  // namespace

WallTime not_before(const CertificatePtr& certificate) { return to_wall(X509_get0_notBefore(certificate.get())); }
WallTime not_after(const CertificatePtr& certificate) { return to_wall(X509_get0_notAfter(certificate.get())); }

Details describe(const CertificatePtr& certificate) {
  return {.subject = name_text(X509_get_subject_name(certificate.get())),
          .issuer = name_text(X509_get_issuer_name(certificate.get())),
          .serial = serial_text(certificate.get()),
          .identity = uri_of(certificate.get()),
          .not_before = not_before(certificate),
          .not_after = not_after(certificate)};
}

std::string out_of_time(const CertificatePtr& certificate, WallTime now) {
  if (now < not_before(certificate)) return "begins at " + time_text(not_before(certificate));
  if (now >= not_after(certificate)) return "ended at " + time_text(not_after(certificate));
  return "";
}

std::string time_text(WallTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm fields{};
  ::gmtime_r(&seconds, &fields);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &fields)};
}

}  // namespace underpass::ca
