// SPDX-License-Identifier: Apache-2.0
#include "test/support/test_ca.h"

#include <openssl/x509v3.h>

#include <utility>

#include "test/support/files.h"
#include "test/support/x509.h"

namespace underpass::test {
namespace {

using namespace x509;

constexpr auto kYear = std::chrono::hours(24 * 365);

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
    Authority out{.key = make_key(), .certificate = nullptr};
    out.certificate = blank(name, -std::chrono::hours(1), kYear, out.key.get());
    X509* own = out.certificate.get();
    X509* above = issuer != nullptr ? issuer->certificate.get() : own;
    add_extension(own, above, NID_basic_constraints, "critical,CA:TRUE" + constraints);
    add_extension(own, above, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(own, above, NID_subject_key_identifier, "hash");
    if (issuer != nullptr) add_extension(own, above, NID_authority_key_identifier, "keyid:always");
    add_extension(own, above, NID_subject_alt_name, "URI:spiffe://" + trust_domain_);
    sign(own, above, issuer != nullptr ? issuer->key.get() : out.key.get());
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
  add_extension(own, issuer, NID_basic_constraints, fields.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(own, issuer, NID_key_usage,
                fields.is_ca ? "critical,digitalSignature,keyCertSign" : "critical,digitalSignature");
  add_extension(own, issuer, NID_authority_key_identifier, "keyid:always");
  const std::string usage =
      std::string(fields.server_auth ? ",serverAuth" : "") + (fields.client_auth ? ",clientAuth" : "");
  if (!usage.empty()) add_extension(own, issuer, NID_ext_key_usage, usage.substr(1));
  add_names(own, fields);
  sign(own, issuer, issuer_.key.get());
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

std::vector<WrongSvid> wrong_svids(const TestCa& ca, const std::string& account) {
  using std::chrono::hours;
  const std::string id = ca.id("shop", account);
  const std::string nul(1, '\0');
  return {
      {"two URIs", ca.issue({.uris = {id, ca.id("bank", account)}})},
      {"the same URI twice", ca.issue({.uris = {id, id}})},
      {"a NUL behind it", ca.issue({.uris = {id + nul + ".evil.example"}})},
      {"a NUL at its end", ca.issue({.uris = {id + nul}})},
      {"in the CN alone", ca.issue({.common_name = id})},
      {"in a DNS name", ca.issue({.dns = {id}})},
      {"not of SPIFFE", ca.issue({.uris = {"https" + id.substr(id.find(':'))}})},
      {"without a namespace", ca.issue({.uris = {id.substr(0, id.find("/ns/")) + "/" + account}})},
      {"another trust domain", TestCa("other.example").svid("shop", account)},
      {"another trust domain, the right authority",
       ca.issue({.uris = {"spiffe://other.example/ns/shop/sa/" + account}})},
      {"expired", ca.issue({.uris = {id}, .from = -hours(2), .until = -hours(1)})},
      {"not yet valid", ca.issue({.uris = {id}, .from = hours(1), .until = hours(2)})},
      {"of a foreign root", TestCa().svid("shop", account)},
      {"an authority's", ca.issue({.uris = {id}, .is_ca = true})},
  };
}

}  // namespace underpass::test
