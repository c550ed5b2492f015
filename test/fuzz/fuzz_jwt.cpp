// SPDX-License-Identifier: Apache-2.0
// Tokens, key sets and the requests that carry them. The first byte chooses what the rest is:
//   0  a key set
//   1  a request, line by line: Authorization, the path, Cookie; its tokens are good only if another program signed
//   them 2  a token's header and, after a line's end, its payload, which are signed here: so everything behind the
//   signature
//      is reached too
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "test/unit/jwt_scene.h"
#include "test/unit/jwt_signer.h"
#include "test/unit/jwt_vectors.h"

using namespace underpass;
using namespace underpass::test;

namespace {

void expect(bool holds) {
  if (!holds) __builtin_trap();
}

std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const auto line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

model::JwtRule rule_of(std::string keys) {
  auto rule = rule_with(std::move(keys));
  rule.from_headers = {{.name = "authorization", .prefix = "Bearer "}};
  rule.from_params = {"t"};
  rule.from_cookies = {"t"};
  rule.output_payload_to_header = "x-payload";
  rule.output_claims = {{.header = "x-a", .claim = {"a"}}, {.header = "x-b", .claim = {"a", "b"}}};
  return rule;
}

void check_fields(const http::Fields& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto [name, value] = fields.at(i);
    if (name != "x-a" && name != "x-b") continue;
    expect(!value.empty());
    for (const char c : value) expect(static_cast<unsigned char>(c) >= 0x20 || c == '\t');
  }
}

bool is_known(std::string_view token) {
  return std::ranges::any_of(kPyJwtTokens, [&](const PyJwtToken& known) { return known.token == token; });
}

void try_request(std::string_view text) {
  static const auto verifier = verifier_of({rule_of(std::string(kPyJwtKeys))});
  auto request = request_with({{"x-a", "forged"}, {"authorization", std::string(take_line(text))}});
  request.path = "/" + std::string(take_line(text));
  request.fields.add("cookie", take_line(text));
  const std::string before(request.fields.find("authorization").value_or(""));
  const auto length = request.path.size() + request.fields.bytes();
  const auto outcome = verifier.verify(request, kNow);
  expect(outcome.ok == outcome.message.empty());
  if (outcome.ok && !outcome.claims) {
    expect(request.path.size() + request.fields.bytes() <= length && request.fields.count("x-a") == 0);
  }
  if (!outcome.claims) return;
  expect(outcome.claims->principal ==
         "https://issuer.example\xff"
         "alice");
  // Where the header's was a token, it was one of theirs, and is gone.
  if (before.size() > 7 && request.fields.count("authorization") == 0) {
    std::string_view token(before);
    token.remove_prefix(std::min(token.find_first_not_of(" \t", 7), token.size()));
    expect(is_known(token.substr(0, token.find_last_not_of(" \t") + 1)));
  }
}

void try_signed(std::string_view text) {
  static const auto signer = Signer::edwards("Ed25519");
  static const auto verifier = verifier_of({rule_of(signer.set())});
  const std::string header(take_line(text));
  const auto token = signer.token_of("EdDSA", header, text);
  auto request = request_with({{"authorization", "Bearer " + token}});
  const auto outcome = verifier.verify(request, kNow);
  expect(outcome.ok == outcome.message.empty());
  check_fields(request.fields);
  if (!outcome.claims) return;
  expect(request.fields.find("x-payload") == encode_base64url(text) && request.fields.count("authorization") == 0);
  auto again = request_with({{"authorization", "Bearer " + token}});
  const auto remembered = verifier.verify(again, kNow);
  expect(remembered.ok && remembered.claims->all == outcome.claims->all &&
         text_of(again.fields) == text_of(request.fields));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 3 == 0) static_cast<void>(jwt::KeySet::parse(text));
  if (data[0] % 3 == 1) try_request(text);
  if (data[0] % 3 == 2) try_signed(text);
  return 0;
}
