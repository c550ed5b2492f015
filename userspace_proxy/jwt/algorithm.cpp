// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/jwt/algorithm.h"

#include <algorithm>
#include <array>

namespace underpass::jwt {

namespace {

using Scheme = Algorithm::Scheme;

constexpr std::array kAlgorithms{
    Algorithm{.name = "RS256", .scheme = Scheme::kPkcs1, .digest = "SHA256"},
    Algorithm{.name = "RS384", .scheme = Scheme::kPkcs1, .digest = "SHA384"},
    Algorithm{.name = "RS512", .scheme = Scheme::kPkcs1, .digest = "SHA512"},
    Algorithm{.name = "PS256", .scheme = Scheme::kPss, .digest = "SHA256"},
    Algorithm{.name = "PS384", .scheme = Scheme::kPss, .digest = "SHA384"},
    Algorithm{.name = "PS512", .scheme = Scheme::kPss, .digest = "SHA512"},
    Algorithm{.name = "ES256", .scheme = Scheme::kEcdsa, .digest = "SHA256"},
    Algorithm{.name = "ES384", .scheme = Scheme::kEcdsa, .digest = "SHA384"},
    Algorithm{.name = "ES512", .scheme = Scheme::kEcdsa, .digest = "SHA512"},
    Algorithm{.name = "EdDSA", .scheme = Scheme::kEdDsa, .digest = nullptr},
};

}  // namespace

bool Algorithm::fits(KeyKind kind) const {
  switch (kind) {
    case KeyKind::kRsa:
      return scheme == Scheme::kPkcs1 || scheme == Scheme::kPss;
    case KeyKind::kP256:
      return name == "ES256";
    case KeyKind::kP384:
      return name == "ES384";
    case KeyKind::kP521:
      return name == "ES512";
    case KeyKind::kEd25519:
    case KeyKind::kEd448:
      return scheme == Scheme::kEdDsa;
  }
  return false;
}

const Algorithm* find_algorithm(std::string_view name) {
  const auto* found = std::ranges::find(kAlgorithms, name, &Algorithm::name);
  return found == kAlgorithms.end() ? nullptr : found;
}

}  // namespace underpass::jwt
