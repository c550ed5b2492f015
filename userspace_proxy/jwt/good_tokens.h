// SPDX-License-Identifier: Apache-2.0
// Tokens that were found good, so that the next request with the same one costs a digest in place of a signature. A few
// hundred places, each for the tokens whose digest leads there: the newest stays. Threads share it without a mutex of
// ours: an entry is never changed, and a place is one atomic pointer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "userspace_proxy/jwt/parts.h"
#include "userspace_proxy/jwt/token.h"

namespace underpass::jwt {

using Digest = std::array<std::uint8_t, 32>;  // SHA-256

struct Good {
  Digest digest{};
  std::size_t rule = 0;  // whose keys signed it
  Lifetime lifetime;
  Claims claims;
};

class GoodTokens {
 public:
  GoodTokens();
  ~GoodTokens();
  GoodTokens(const GoodTokens&) = delete;
  GoodTokens& operator=(const GoodTokens&) = delete;

  // Nothing: OpenSSL has no memory, or the token is too long to be remembered.
  [[nodiscard]] std::optional<Digest> digest_of(std::string_view token) const;
  // Null: not remembered. It may have expired.
  [[nodiscard]] std::shared_ptr<const Good> find(const Digest& digest) const;
  void put(std::shared_ptr<const Good> good);

 private:
  struct Sha256;
  std::unique_ptr<Sha256> sha256_;
  std::array<std::atomic<std::shared_ptr<const Good>>, 256> places_;
};

}  // namespace underpass::jwt
