// SPDX-License-Identifier: Apache-2.0
// The names by which objects and connections are known everywhere in Underpass.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace underpass {

// One network namespace for the life of the machine; never re-used (SO_NETNS_COOKIE, Linux 5.14). 0: none.
using NetnsCookie = std::uint64_t;

// One socket for the life of the machine; never re-used (SO_COOKIE). 0: none.
using SocketCookie = std::uint64_t;

// A namespaced Kubernetes object of a kind known from the context.
struct NamespacedName {
  std::string ns;
  std::string name;

  auto operator<=>(const NamespacedName&) const = default;
  [[nodiscard]] std::string to_string() const { return ns + "/" + name; }
};

// spiffe://<trust domain>/ns/<namespace>/sa/<service account> (Istio's SPIFFE format).
inline std::string spiffe_id(const std::string& trust_domain, const std::string& ns, const std::string& account) {
  return "spiffe://" + trust_domain + "/ns/" + ns + "/sa/" + account;
}

}  // namespace underpass
