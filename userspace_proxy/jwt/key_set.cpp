// SPDX-License-Identifier: Apache-2.0
// KeySet: which keys of a set can be used, and whether one of them signed a token.
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "userspace_proxy/jwt/json.h"
#include "userspace_proxy/jwt/parts.h"
#include "userspace_proxy/jwt/public_key.h"
#include "userspace_proxy/jwt/token.h"

namespace underpass::jwt {

namespace {

constexpr std::size_t kMaxKeys = 256;  // of a set
constexpr int kMaxTries = 32;          // signatures that one token may cost

}  // namespace

struct KeySet::Key {
  PublicKey key;
};

KeySet::KeySet() = default;
KeySet::~KeySet() = default;

Result<std::shared_ptr<const KeySet>> KeySet::parse(std::string_view text) {
  const auto set = parse_object(text);
  if (!set) return std::unexpected(set.error());
  const auto* keys = set->if_contains("keys");
  const auto* list = keys == nullptr ? nullptr : keys->if_array();
  if (list == nullptr) return fail("keys: is missing, or not a list");
  if (list->size() > kMaxKeys) return fail("keys: more than " + std::to_string(kMaxKeys));
  std::shared_ptr<KeySet> out(new KeySet);
  std::string left_out;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const auto* jwk = (*list)[i].if_object();
    auto key = jwk == nullptr ? fail("not an object") : PublicKey::from_jwk(*jwk);
    if (key) {
      out->keys_.push_back({std::move(*key)});
    } else if (left_out.empty()) {
      left_out = ": keys[" + std::to_string(i) + "]." + key.error().message;
    }
  }
  if (out->keys_.empty()) return fail("no key that can be used" + left_out);
  return out;
}

std::optional<Refusal> KeySet::check(const Parts& token) const {
  int tries = 0;
  for (const auto& [key] : keys_) {
    if (token.kid && *token.kid != key.kid()) continue;
    if (!key.may_verify(*token.algorithm)) continue;
    if (++tries > kMaxTries) break;
    if (key.verify(*token.algorithm, token.signed_text, token.signature)) return std::nullopt;
  }
  if (tries == 0) return Refusal{.message = "Jwks doesn't have key to match kid or alg from Jwt", .cause = ""};
  return Refusal{.message = "Jwt verification fails", .cause = "no key of the set signed it"};
}

}  // namespace underpass::jwt
