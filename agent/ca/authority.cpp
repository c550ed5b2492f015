// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/authority.h"

#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "agent/ca/details.h"

namespace underpass::ca {
namespace {

// As TLS of Debian's OpenSSL asks of its peers: no SHA-1, no RSA below 2,048 bits.
constexpr int kSecurityLevel = 2;

std::string name_of(const CertificatePtr& certificate) { return "\"" + describe(certificate).subject + "\""; }

Result<void> check_may_sign(const CertificatePtr& certificate) {
  // 1: version 3 with CA:TRUE, and keyCertSign where the key's use is said.
  if (X509_check_ca(certificate.get()) == 1) return {};
  return fail(name_of(certificate) + " is not an authority: it may not sign certificates");
}

Result<std::vector<CertificatePtr>> certificates_of(const AuthorityFiles& folder, const Files& files,
                                                    const char* name) {
  const auto file = files.find(name);
  if (file == files.end()) return fail(folder.path_of(name) + ": is missing");
  auto out = parse_certificates(file->second);
  if (!out) return fail_in(folder.path_of(name), out.error());
  for (const auto& one : *out)
    if (auto good = check_may_sign(one); !good) return fail_in(folder.path_of(name), good.error());
  return out;
}

Result<KeyPtr> key_of(const AuthorityFiles& folder, const Files& files, const char* name) {
  const auto file = files.find(name);
  if (file == files.end()) return fail(folder.path_of(name) + ": is missing");
  auto key = parse_key(file->second);
  if (!key) return fail_in(folder.path_of(name), key.error());
  return key;
}

bool fits(const CertificatePtr& certificate, const KeyPtr& key) {
  const bool good = X509_check_private_key(certificate.get(), key.get()) == 1;
  if (!good) (void)openssl_cause();
  return good;
}

// The root that this key is of, where there is such a file.
Result<std::optional<KeyPair>> root_of(const AuthorityFiles& folder, const Files& files, const char* name,
                                       const std::vector<CertificatePtr>& bundle) {
  if (!files.contains(name)) return std::nullopt;
  auto key = key_of(folder, files, name);
  if (!key) return std::unexpected(key.error());
  const auto root = std::ranges::find_if(bundle, [&](const auto& one) { return fits(one, *key); });
  if (root == bundle.end()) return fail(folder.path_of(name) + ": is the key of none of the roots in " + kRootCert);
  return KeyPair{.certificate = *root, .key = std::move(*key)};
}

using StackPtr = std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)>;

StackPtr to_stack(const std::vector<CertificatePtr>& certificates) {
  StackPtr out(sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
  for (const auto& one : certificates) sk_X509_push(out.get(), one.get());
  return out;
}

}  // namespace

Result<std::vector<CertificatePtr>> verify_chain(const CertificatePtr& leaf, const std::vector<CertificatePtr>& between,
                                                 const std::vector<CertificatePtr>& trusted, WallTime now) {
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(), X509_STORE_free);
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                X509_STORE_CTX_free);
  if (!store || !context) return fail("verify: " + openssl_cause());
  for (const auto& root : trusted) X509_STORE_add_cert(store.get(), root.get());
  const auto untrusted = to_stack(between);
  if (X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), untrusted.get()) != 1)
    return fail("verify: " + openssl_cause());
  auto* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, std::chrono::system_clock::to_time_t(now));
  X509_VERIFY_PARAM_set_auth_level(parameters, kSecurityLevel);
  if (X509_verify_cert(context.get()) != 1) {
    (void)openssl_cause();
    const auto* at = X509_STORE_CTX_get_current_cert(context.get());
    std::string where;
    if (at != nullptr) {
      X509_up_ref(const_cast<X509*>(at));
      where = name_of(CertificatePtr(const_cast<X509*>(at), X509_free)) + ": ";
    }
    return fail(where + X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
  }
  std::vector<CertificatePtr> out;
  const auto* chain = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* one = sk_X509_value(chain, i);
    X509_up_ref(one);
    out.emplace_back(one, X509_free);
  }
  return out;
}

Result<Authority> parse_authority(const AuthorityFiles& folder, const Files& files) {
  Authority out;
  auto bundle = certificates_of(folder, files, kRootCert);
  if (!bundle) return std::unexpected(bundle.error());
  out.bundle = std::move(*bundle);
  auto signer = certificates_of(folder, files, kCaCert);
  if (!signer) return std::unexpected(signer.error());
  auto chain = certificates_of(folder, files, kCertChain);
  if (!chain) return std::unexpected(chain.error());
  out.given = std::move(*chain);
  auto key = key_of(folder, files, kCaKey);
  if (!key) return std::unexpected(key.error());
  if (!fits(signer->front(), *key)) return fail(folder.path_of(kCaKey) + ": is not the key of " + kCaCert);
  out.issuer = {.certificate = signer->front(), .key = std::move(*key)};

  auto root = root_of(folder, files, kRootKey, out.bundle);
  if (!root) return std::unexpected(root.error());
  out.root = std::move(*root);
  auto next = root_of(folder, files, kNextRootKey, out.bundle);
  if (!next) return std::unexpected(next.error());
  out.next_root = std::move(*next);
  if (files.contains(kOldRootCert)) {
    auto retired = certificates_of(folder, files, kOldRootCert);
    if (!retired) return std::unexpected(retired.error());
    out.retired = retired->front();
  }
  return out;
}

Result<void> check_authority(const AuthorityFiles& folder, Authority& authority, WallTime now) {
  // Said apart, since the way to a root would only say that something has expired.
  if (const auto problem = out_of_time(authority.issuer.certificate, now); !problem.empty())
    return fail(folder.path_of(kCaCert) + ": " + problem);
  if (authority.root)
    if (const auto problem = out_of_time(authority.root->certificate, now); !problem.empty())
      return fail(folder.path_of(kRootCert) + ": " + name_of(authority.root->certificate) + ": " + problem);
  auto way = verify_chain(authority.issuer.certificate, authority.given, authority.bundle, now);
  if (!way)
    return fail(folder.path_of(kCertChain) + ": does not lead from " + kCaCert + " to a root of " + kRootCert + ": " +
                way.error().message);
  authority.ends = WallTime::max();
  for (const auto& one : *way) authority.ends = std::min(authority.ends, not_after(one));
  authority.anchor = way->back();
  way->pop_back();
  authority.chain = std::move(*way);
  return {};
}

Result<void> check_issued(const Authority& authority, const CertificatePtr& leaf, WallTime now) {
  auto way = verify_chain(leaf, authority.chain, authority.bundle, now);
  if (!way) return fail("peers would not believe it: " + way.error().message);
  return {};
}

}  // namespace underpass::ca
