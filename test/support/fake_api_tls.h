// SPDX-License-Identifier: Apache-2.0
// Certificates of the fake API server, made when it starts: its authority, its own, and those of clients.
#pragma once

#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <string>

namespace underpass::test {

// Both as PEM.
struct FakeIdentity {
  std::string certificate;
  std::string key;
};

struct FakeSubject {
  std::string name;   // CN
  std::string names;  // subjectAltName as OpenSSL writes it: "IP:127.0.0.1,DNS:kubernetes"; empty: a client
  std::chrono::seconds from = -std::chrono::hours(1);  // from now
  std::chrono::seconds until = std::chrono::hours(24);
};

class FakeAuthority {
 public:
  explicit FakeAuthority(const std::string& name);

  [[nodiscard]] FakeIdentity issue(const FakeSubject& subject) const;
  [[nodiscard]] const std::string& certificate() const { return pem_; }

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
  std::string pem_;
};

}  // namespace underpass::test
