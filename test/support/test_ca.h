// SPDX-License-Identifier: Apache-2.0
// A certificate authority of a test's own, root and intermediate, written from the X.509-SVID specification
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md). It makes good certificates and every kind of
// wrong one, and shares no code with what it tests.
#pragma once

#include <openssl/types.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace underpass::test {

// Both as PEM: the certificate before its issuers, without the root, and the key as PKCS #8.
struct Svid {
  std::string chain;
  std::string key;
};

// What stands in a certificate. As it is by default, with one URI, it is a good SVID.
struct SvidFields {
  std::vector<std::string> uris{};                       // SANs, byte for byte: a NUL stays one
  std::vector<std::string> dns{};                        // SANs
  std::string common_name{};                             // empty: an empty subject
  std::chrono::seconds from = -std::chrono::minutes(5);  // from now
  std::chrono::seconds until = std::chrono::hours(24);
  bool rsa = false;  // 2048 bits; else P-256
  bool is_ca = false;
  bool client_auth = true;  // in its extended key usage
  bool server_auth = true;
};

class TestCa {
 public:
  explicit TestCa(std::string trust_domain = "cluster.local");

  [[nodiscard]] Svid issue(const SvidFields& fields) const;
  [[nodiscard]] Svid svid(const std::string& ns, const std::string& account) const;
  [[nodiscard]] std::string id(const std::string& ns, const std::string& account) const;
  [[nodiscard]] const std::string& root() const { return root_pem_; }

  // The files of Istio's secret cacerts (https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/),
  // for whom --ca-dir names as an operator's own authority. `more_roots`: PEM, behind the root.
  void write_cacerts(const std::filesystem::path& folder, const std::string& more_roots = "") const;

 private:
  struct Authority {
    std::shared_ptr<EVP_PKEY> key;
    std::shared_ptr<X509> certificate;
  };

  std::string trust_domain_;
  Authority root_;
  Authority issuer_;
  std::string root_pem_;
  std::string issuer_pem_;
};

// In the name of shop/ACCOUNT, and believed by nobody who has this authority's root, whoever is expected.
struct WrongSvid {
  std::string what;
  Svid svid;
};
std::vector<WrongSvid> wrong_svids(const TestCa& ca, const std::string& account);

}  // namespace underpass::test
