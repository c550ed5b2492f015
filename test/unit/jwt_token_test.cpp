// SPDX-License-Identifier: Apache-2.0
// Which tokens are good: each algorithm, by another program's tokens and our own, and every way in which one is not.
#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <string>
#include <vector>

#include "test/unit/jwt_scene.h"
#include "test/unit/jwt_signer.h"
#include "test/unit/jwt_vectors.h"

namespace underpass::test {
namespace {

constexpr auto kFails = "Jwt verification fails";
constexpr auto kNoKey = "Jwks doesn't have key to match kid or alg from Jwt";
constexpr auto kForm = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";

const Signer& rsa() {
  static const auto signer = Signer::rsa();
  return signer;
}
const Signer& p256() {
  static const auto signer = Signer::curve("P-256");
  return signer;
}

TEST_CASE("jwt: tokens of another program are good, with their own key and with no other") {
  const auto all = verifier_of({rule_with(std::string(kPyJwtKeys))});
  for (const auto& [algorithm, kid, token] : kPyJwtTokens) {
    CAPTURE(algorithm);
    CAPTURE(kid);
    auto request = request_with({{"authorization", "Bearer " + std::string(token)}});
    const auto outcome = all.verify(request, kNow);
    REQUIRE_MESSAGE(outcome.ok, outcome.cause);
    CHECK(outcome.claims->principal ==
          "https://issuer.example\xff"
          "alice");
    CHECK(outcome.claims->audiences == std::vector<std::string>{"shop", "bank"});
    CHECK(outcome.claims->presenter == "till");
    CHECK(outcome.claims->all.at("level") == 7);
    CHECK(verdict(verifier_of({rule_with(rsa().set("\"kid\":\"rsa\""))}), std::string(token)) ==
          (kid == "rsa" ? kFails : kNoKey));
  }
}

TEST_CASE("jwt: every algorithm, with and without kid") {
  const struct {
    Signer signer;
    std::vector<std::string> algorithms;
  } rows[] = {
      {rsa(), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
      {p256(), {"ES256"}},
      {Signer::curve("P-384"), {"ES384"}},
      {Signer::curve("P-521"), {"ES512"}},
      {Signer::edwards("Ed25519"), {"EdDSA"}},
      {Signer::edwards("Ed448"), {"EdDSA"}},
  };
  for (const auto& [signer, algorithms] : rows) {
    for (const auto& algorithm : algorithms) {
      CAPTURE(algorithm);
      const auto token = signer.token(algorithm, claims());
      const auto named = signer.token(algorithm, claims(), R"("kid":"a","typ":"at+jwt","jku":"http://evil")");
      CHECK(verdict(verifier_of({rule_with(signer.set())}), token) == "");
      CHECK(verdict(verifier_of({rule_with(signer.set(R"("kid":"a")"))}), token) == "");
      CHECK(verdict(verifier_of({rule_with(signer.set(R"("kid":"a")"))}), named) == "");
      CHECK(verdict(verifier_of({rule_with(signer.set(R"("kid":"b")"))}), named) == kNoKey);
      CHECK(verdict(verifier_of({rule_with(signer.set())}), named) == kNoKey);
    }
  }
}

TEST_CASE("jwt: an algorithm that the key is not for") {
  const auto text = [](const Signer& signer, const std::string& set, const std::string& says,
                       const std::string& signs) {
    return verdict(verifier_of({rule_with(set)}), signer.token_of(signs, R"({"alg":")" + says + "\"}", claims()));
  };
  CHECK(text(rsa(), rsa().set(R"("alg":"RS256")"), "RS256", "RS256") == "");
  CHECK(text(rsa(), rsa().set(R"("alg":"RS256")"), "RS512", "RS512") == kNoKey);
  CHECK(text(rsa(), rsa().set(R"("alg":"RS256")"), "PS256", "PS256") == kNoKey);
  CHECK(text(rsa(), rsa().set(), "RS256", "RS384") == kFails);
  CHECK(text(rsa(), rsa().set(), "PS256", "RS256") == kFails);
  CHECK(text(rsa(), rsa().set(), "RS256", "PS256") == kFails);
  CHECK(text(rsa(), rsa().set(), "ES256", "RS256") == kNoKey);
  CHECK(text(p256(), p256().set(), "ES384", "ES256") == kNoKey);
  CHECK(text(Signer::curve("P-384"), p256().set(), "ES256", "ES384") == kFails);
  for (const char* none : {"none", "None", "NONE", "", "HS256", "HS512", "rs256", "RS1", "ES256K", "A128KW", "Ed25519"})
    CHECK_MESSAGE(text(rsa(), rsa().set(), none, "RS256") == "Jwt header [alg] is not supported", none);
}

TEST_CASE("jwt: a public key is nobody's HMAC secret, and no signature is none") {
  const auto verifier = verifier_of({rule_with(rsa().set())});
  const auto signed_text = encode_base64url(R"({"alg":"HS256"})") + "." + encode_base64url(claims());
  for (const auto& secret : {rsa().number("n"), rsa().jwk(), rsa().set()}) {
    std::array<unsigned char, 32> mac{};
    ::HMAC(::EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size(), mac.data(), nullptr);
    const std::string signature(reinterpret_cast<const char*>(mac.data()), mac.size());
    CHECK(verdict(verifier, signed_text + "." + encode_base64url(signature)) == "Jwt header [alg] is not supported");
    // The same bytes under the key's own algorithm.
    const auto confused = encode_base64url(R"({"alg":"RS256"})") + "." + encode_base64url(claims());
    CHECK(verdict(verifier, confused + "." + encode_base64url(signature)) == kFails);
  }
  const auto text = encode_base64url(R"({"alg":"RS256"})") + "." + encode_base64url(claims());
  CHECK(verdict(verifier, text + ".") == kFails);
  CHECK(verdict(verifier, text) == kForm);
}

TEST_CASE("jwt: signatures of curves that are none") {
  const auto verifier = verifier_of({rule_with(p256().set())});
  const auto text = encode_base64url(R"({"alg":"ES256"})") + "." + encode_base64url(claims());
  const auto good = p256().sign("ES256", text);
  const std::string zero(32, '\0');
  const std::string ones(32, '\xff');
  CHECK(verdict(verifier, text + "." + encode_base64url(good)) == "");
  for (const auto& signature : {zero + zero, zero + good.substr(32), good.substr(0, 32) + zero, ones + ones,
                                good.substr(32) + good.substr(0, 32), good.substr(0, 63), good + std::string(1, '\0'),
                                std::string(1, '\0') + good, std::string(96, '\0'), std::string()})
    CHECK(verdict(verifier, text + "." + encode_base64url(signature)) == kFails);
}

TEST_CASE("jwt: no byte of a good token may be another") {
  for (const auto& [signer, algorithm] :
       {std::pair{rsa(), "RS256"}, std::pair{p256(), "ES256"}, std::pair{Signer::edwards("Ed25519"), "EdDSA"}}) {
    const auto token = signer.token(algorithm, claims(R"("exp":1900000000)"), R"("kid":"a")");
    const auto verifier = verifier_of({rule_with(signer.set(R"("kid":"a")"))});
    REQUIRE(verdict(verifier, token) == "");  // and is remembered
    for (std::size_t i = 0; i < token.size(); ++i) {
      for (const unsigned flip : {0x01U, 0x02U, 0x04U, 0x20U, 0x80U}) {
        auto other = token;
        other[i] = static_cast<char>(static_cast<unsigned char>(other[i]) ^ flip);
        CHECK_MESSAGE(verdict(verifier, other) != "", i, " ", flip);
      }
      CHECK_MESSAGE(verdict(verifier, token.substr(0, i)) != "", i);
    }
    CHECK(verdict(verifier, token + "A") != "");
    CHECK(verdict(verifier, token + "=") != "");
    CHECK(verdict(verifier, token + ".") == kForm);
  }
}

TEST_CASE("jwt: what a header may not say") {
  const auto verifier = verifier_of({rule_with(p256().set())});
  const struct {
    std::string header;
    std::string message;
  } rows[] = {
      {R"({"alg":"ES256"})", ""},
      {R"({"alg":"ES256","b64":true,"cty":"text"})", ""},
      {R"({"alg":"ES256","crit":["exp"],"exp":1})", kFails},
      {R"({"alg":"ES256","crit":[]})", kFails},
      {R"({"alg":"ES256","crit":["b64"],"b64":false})", kFails},
      {R"({"alg":"ES256","b64":false})", kFails},
      {R"({"alg":"ES256","b64":"true"})", kFails},
      {R"({"alg":"ES256","enc":"A128GCM"})", kFails},
      {R"({"alg":"ES256","cty":"JWT"})", kFails},
      {R"({"alg":"ES256","cty":"application/jwt"})", kFails},
      {R"({"alg":"ES256","cty":1})", kFails},
      {R"({"alg":"ES256","kid":1})", "Jwt header [kid] field is not a string"},
      {R"({"alg":["ES256"]})", "Jwt header [alg] field is required and must be a string"},
      {R"({})", "Jwt header [alg] field is required and must be a string"},
      {R"({"alg":"ES256","alg":"ES256"})", "Jwt header is an invalid JSON"},
      {R"({"alg":"none","alg":"ES256"})", "Jwt header is an invalid JSON"},
      {R"(["ES256"])", "Jwt header is an invalid JSON"},
      {R"({"alg":"ES256"}})", "Jwt header is an invalid JSON"},
      {"", "Jwt header is an invalid JSON"},
  };
  for (const auto& [header, message] : rows)
    CHECK_MESSAGE(verdict(verifier, p256().token_of("ES256", header, claims())) == message, header);
}

TEST_CASE("jwt: forms that are no token") {
  const auto verifier = verifier_of({rule_with(p256().set())});
  const auto token = p256().token("ES256", claims());
  CHECK(verdict(verifier, "x") == kForm);
  CHECK(verdict(verifier, "x.y") == kForm);
  CHECK(verdict(verifier, token + ".x.y") == kForm);  // as an encrypted one has them
  CHECK(verdict(verifier, "..") == "Jwt header is an invalid JSON");
  CHECK(verdict(verifier, "=" + token) == "Jwt header is an invalid Base64url encoded");
  CHECK(verdict(verifier, token + "*") == "Jwt signature is an invalid Base64url encoded");
  CHECK(verdict(verifier, token + ", Bearer " + token) == kForm);
  CHECK(verdict(verifier, token + " x") == "Jwt signature is an invalid Base64url encoded");
  const auto long_one = p256().token("ES256", claims(R"("a":")" + std::string(jwt::kMaxToken, 'a') + "\""));
  CHECK(verdict(verifier, long_one) == kForm);
  const auto nearly = p256().token("ES256", claims(R"("a":")" + std::string(11'900, 'a') + "\""));
  REQUIRE(nearly.size() <= jwt::kMaxToken);
  CHECK(verdict(verifier, nearly) == "");
  const auto deep = p256().token("ES256", claims(R"("a":)" + std::string(40, '[') + std::string(40, ']')));
  CHECK(verdict(verifier, deep) == "Jwt payload is an invalid JSON");
}

TEST_CASE("jwt: what a payload may not say") {
  auto rule = rule_with(p256().set());
  const auto any = verifier_of({rule});
  rule.audiences = {"shop", "bank"};
  const auto ours = verifier_of({rule});
  const struct {
    std::string more;
    std::string message;        // of a rule without audiences
    std::string with_audience;  // ... with
  } rows[] = {
      {R"("aud":"shop")", "", ""},
      {R"("aud":["x","bank"])", "", ""},
      {R"("aud":"x")", "", "Audiences in Jwt are not allowed"},
      {R"("aud":"Shop")", "", "Audiences in Jwt are not allowed"},
      {R"("aud":"shop/")", "", "Audiences in Jwt are not allowed"},
      {R"("aud":[])", "", "Audiences in Jwt are not allowed"},
      {"", "", "Audiences in Jwt are not allowed"},
      {R"("aud":1)", "Jwt payload [aud] field is not a string or string list",
       "Jwt payload [aud] field is not a string or string list"},
      {R"("aud":["shop",1])", "Jwt payload [aud] field is not a string or string list",
       "Jwt payload [aud] field is not a string or string list"},
      {R"("aud":{"shop":1})", "Jwt payload [aud] field is not a string or string list",
       "Jwt payload [aud] field is not a string or string list"},
      {R"("aud":"shop","aud":"bank")", "Jwt payload is an invalid JSON", "Jwt payload is an invalid JSON"},
      {R"("aud":"shop","azp":1)", "", ""},
      {R"("aud":"shop","iss":"https://issuer.example")", "Jwt payload is an invalid JSON",
       "Jwt payload is an invalid JSON"},
  };
  for (const auto& [more, message, with_audience] : rows) {
    CHECK_MESSAGE(verdict(any, p256().token("ES256", claims(more))) == message, more);
    CHECK_MESSAGE(verdict(ours, p256().token("ES256", claims(more))) == with_audience, more);
  }
  const struct {
    std::string payload;
    std::string message;
  } whole[] = {
      {R"({"iss":"https://issuer.example"})", ""},
      {R"({"iss":"https://issuer.example/"})", "Jwt issuer is not configured"},
      {R"({"iss":"HTTPS://issuer.example"})", "Jwt issuer is not configured"},
      {R"({"iss":""})", "Jwt issuer is not configured"},
      {R"({"sub":"alice"})", "Jwt issuer is not configured"},
      {R"({"iss":["https://issuer.example"]})", "Jwt payload [iss] field is not a string"},
      {R"({"iss":"https://issuer.example","sub":7})", "Jwt payload [sub] field is not a string"},
      {R"("alice")", "Jwt payload is an invalid JSON"},
      {"", "Jwt payload is an invalid JSON"},
  };
  for (const auto& [payload, message] : whole)
    CHECK_MESSAGE(verdict(any, p256().token("ES256", payload)) == message, payload);
}

TEST_CASE("jwt: times, with a minute of skew") {
  const auto verifier = verifier_of({rule_with(p256().set())});
  const struct {
    std::string more;
    std::string message;
  } rows[] = {
      {"", ""},
      {R"("exp":1800000000)", ""},
      {R"("exp":1799999940)", ""},
      {R"("exp":1799999939)", "Jwt is expired"},
      {R"("exp":1799999939.9)", "Jwt is expired"},
      {R"("exp":1799999940.1)", ""},
      {R"("exp":1.9e9)", ""},
      {R"("exp":1.7e9)", "Jwt is expired"},
      {R"("exp":0)", "Jwt is expired"},
      {R"("exp":-1)", "Jwt payload [exp] field is not a positive 64 bit integer"},
      {R"("exp":1e300)", "Jwt payload [exp] field is not a positive 64 bit integer"},
      {R"("exp":18446744073709551615)", "Jwt payload [exp] field is not a positive 64 bit integer"},
      {R"("exp":1e9999)", "Jwt payload [exp] field is not a positive 64 bit integer"},
      {R"("exp":"1900000000")", "Jwt payload [exp] field is not an integer"},
      {R"("exp":null)", "Jwt payload [exp] field is not an integer"},
      {R"("exp":true)", "Jwt payload [exp] field is not an integer"},
      {R"("nbf":1800000060)", ""},
      {R"("nbf":1800000061)", "Jwt not yet valid"},
      {R"("nbf":1800000060.5)", "Jwt not yet valid"},
      {R"("nbf":-0.5)", "Jwt payload [nbf] field is not a positive 64 bit integer"},
      {R"("nbf":"0")", "Jwt payload [nbf] field is not an integer"},
      {R"("iat":1900000000)", ""},
      {R"("iat":"now")", "Jwt payload [iat] field is not an integer"},
      {R"("iat":-1)", "Jwt payload [iat] field is not a positive 64 bit integer"},
  };
  for (const auto& [more, message] : rows)
    CHECK_MESSAGE(verdict(verifier, p256().token("ES256", claims(more))) == message, more);
}

TEST_CASE("jwt: without kid the keys that fit are tried, but not any number of them") {
  const auto set = [](int before, const std::string& kid) {
    const auto other = Signer::curve("P-256").jwk(kid);
    std::string keys;
    for (int i = 0; i < before; ++i) keys += other + ",";
    return R"({"keys":[)" + rsa().jwk(kid) + "," + keys + p256().jwk(kid) + "]}";
  };
  const auto token = p256().token("ES256", claims());
  const auto named = p256().token("ES256", claims(), R"("kid":"a")");
  CHECK(verdict(verifier_of({rule_with(set(0, R"("kid":"a")"))}), token) == "");
  CHECK(verdict(verifier_of({rule_with(set(31, R"("kid":"a")"))}), token) == "");
  CHECK(verdict(verifier_of({rule_with(set(32, R"("kid":"a")"))}), token) == kFails);
  CHECK(verdict(verifier_of({rule_with(set(5, R"("kid":"a")"))}), named) == "");
}

}  // namespace
}  // namespace underpass::test
