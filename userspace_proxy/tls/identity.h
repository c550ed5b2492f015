// SPDX-License-Identifier: Apache-2.0
// What a worker shows as the pods of one identity, and whom it believes: TLS 1.3 for HBONE, with a certificate on both
// sides, ALPN "h2", and never a resumed session, since that would go past the checks of the first.
#pragma once

#include <openssl/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "underpass/result.h"
#include "underpass/routing_table.h"

namespace underpass::tls {

struct ContextDeleter {
  void operator()(SSL_CTX* context) const;
};
using Context = std::unique_ptr<SSL_CTX, ContextDeleter>;

struct Identity {
  std::string id;  // spiffe://...
  Context client;
  Context server;
  std::chrono::system_clock::time_point ends;  // when its certificate does

  [[nodiscard]] bool is_valid() const { return std::chrono::system_clock::now() < ends; }
};
using IdentityPtr = std::shared_ptr<const Identity>;

// By ID.
using Identities = std::map<std::string, IdentityPtr, std::less<>>;

// Of a table's certificates and trust bundle. What is wrong with one is an error, which names its identity. Those that
// `before` has, made of the same texts, are taken from there.
class IdentityMaker {
 public:
  //
  // An agent that has just started may have no certificates yet, or, where the authority's folder is damaged, none for
  // a long time. So what a pod of the table had before stays until it ends, and an empty bundle is filled in.
  Result<Identities> make(RoutingTable& table);

 private:
  struct Made {
    Certificate of;
    IdentityPtr identity;
  };
  std::string bundle_;
  std::map<std::string, Made> made_;
};

}  // namespace underpass::tls
