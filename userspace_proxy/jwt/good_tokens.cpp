// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/jwt/good_tokens.h"

#include <openssl/evp.h>

#include <utility>

namespace underpass::jwt {

namespace {

constexpr std::size_t kLongestRemembered = 4096;  // bounds what all of them take to a few MiB

}  // namespace

// Looked up in OpenSSL's tables once, which takes longer than to use it.
struct GoodTokens::Sha256 {
  Sha256() : digest(::EVP_MD_fetch(nullptr, "SHA256", nullptr)) {}
  ~Sha256() { ::EVP_MD_free(digest); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  EVP_MD* digest;
};

GoodTokens::GoodTokens() : sha256_(std::make_unique<Sha256>()) {}
GoodTokens::~GoodTokens() = default;

std::optional<Digest> GoodTokens::digest_of(std::string_view token) const {
  Digest out;
  if (sha256_->digest == nullptr || token.size() > kLongestRemembered) return std::nullopt;
  if (::EVP_Digest(token.data(), token.size(), out.data(), nullptr, sha256_->digest, nullptr) != 1) return std::nullopt;
  return out;
}

std::shared_ptr<const Good> GoodTokens::find(const Digest& digest) const {
  auto good = places_[digest[0]].load();
  if (good && good->digest != digest) good.reset();
  return good;
}

void GoodTokens::put(std::shared_ptr<const Good> good) {
  auto& place = places_[good->digest[0]];
  place.store(std::move(good));
}

}  // namespace underpass::jwt
