// SPDX-License-Identifier: Apache-2.0
// What a token stands on: base64url and JSON read strictly, keys that may be used and those that may not, and the
// examples of the RFCs.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <string>

#include "test/unit/jwt_scene.h"
#include "test/unit/jwt_signer.h"
#include "userspace_proxy/jwt/base64url.h"
#include "userspace_proxy/jwt/json.h"
#include "userspace_proxy/jwt/public_key.h"

namespace underpass::test {
namespace {

using jwt::decode_base64url;
using jwt::KeySet;
using jwt::PublicKey;

Result<PublicKey> key_of(const std::string& jwk) { return PublicKey::from_jwk(boost::json::parse(jwk).as_object()); }

std::string problem_of(const std::string& jwk) {
  const auto key = key_of(jwk);
  return key ? "" : key.error().message;
}

TEST_CASE("jwt base64url: what is written comes back, for every length") {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    CHECK(decode_base64url(encode_base64url(bytes)) == bytes);
    bytes += static_cast<char>(i * 37);
  }
}

TEST_CASE("jwt base64url: one spelling for each value") {
  for (const char* text : {"A", "AAAAA", "AA==", "AA=", "A+AA", "A/AA", "AA A", "AA\n", " AA", "AB", "A_", "AAB", "ÄA"})
    CHECK_MESSAGE(!decode_base64url(text), text);
  CHECK(!decode_base64url(std::string_view("AA\0A", 4)));
  CHECK(decode_base64url("AA") == std::string(1, '\0'));
  CHECK(decode_base64url("AAA") == std::string(2, '\0'));
  CHECK(decode_base64url("-_-_") == "\xfb\xff\xbf");
}

TEST_CASE("jwt json: an object, no member twice, not too deep") {
  const auto problem = [](const std::string& text) {
    const auto object = jwt::parse_object(text);
    return object ? std::string() : object.error().message;
  };
  CHECK(problem(R"({"a":1,"b":{"a":[{"a":1},{"a":2}]}})").empty());
  CHECK(problem(R"({"a":1,"a":1})") == "a member is there twice");
  CHECK(problem(R"({"a":[1,{"b":{"c":1,"d":2,"c":3}}]})") == "a member is there twice");
  CHECK(problem(R"({"a":1,"\u0061":2})") == "a member is there twice");
  CHECK(problem("[]") == "not an object");
  CHECK(problem("1") == "not an object");
  for (const char* text :
       {"", "{", "{}x", "{}{}", "{'a':1}", R"({"a":01})", "{\"a\":\"\xff\"}", "{\"a\":NaN}", "{} //"})
    CHECK_MESSAGE(problem(text).starts_with("not JSON"), text);
  const auto nested = [](std::size_t depth) {
    return R"({"a":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  CHECK(problem(nested(jwt::kMaxJsonDepth)).empty());
  CHECK(problem(nested(jwt::kMaxJsonDepth + 1)).starts_with("not JSON"));
  CHECK(problem(nested(100'000)).starts_with("not JSON"));
}

TEST_CASE("jwt key: those that may not be used") {
  const auto rsa = Signer::rsa();
  const auto curve = Signer::curve("P-256");
  CHECK(problem_of(rsa.jwk()).empty());
  CHECK(problem_of(curve.jwk()).empty());
  CHECK(problem_of(R"({"kty":"oct","k":"AAAA"})") == "kty: not a kind that is known");
  CHECK(problem_of(R"({"n":"AAAA","e":"AQAB"})") == "kty: not a kind that is known");
  CHECK(problem_of(rsa.jwk(R"("use":"enc")")) == "use: not \"sig\"");
  CHECK(problem_of(rsa.jwk(R"("use":1)")) == "use: not \"sig\"");
  CHECK(problem_of(rsa.jwk(R"("key_ops":["sign","encrypt"])")) == "key_ops: without \"verify\"");
  CHECK(problem_of(rsa.jwk(R"("key_ops":"verify")")) == "key_ops: without \"verify\"");
  CHECK(problem_of(rsa.jwk(R"("key_ops":["verify"],"use":"sig")")).empty());
  CHECK(problem_of(rsa.jwk(R"("alg":"RSA-OAEP")")) == "alg: not one of this kind of key");
  CHECK(problem_of(rsa.jwk(R"("alg":"ES256")")) == "alg: not one of this kind of key");
  CHECK(problem_of(rsa.jwk(R"("alg":"HS256")")) == "alg: not one of this kind of key");
  CHECK(problem_of(curve.jwk(R"("alg":"ES384")")) == "alg: not one of this kind of key");
  CHECK(problem_of(curve.jwk(R"("kid":1)")) == "kid: not a string");
  CHECK(problem_of(Signer::rsa(1024).jwk()) == "n: 1024 bits");
  CHECK(problem_of(Signer::rsa(2040).jwk()) == "n: 2040 bits");
}

TEST_CASE("jwt key: numbers that are no key") {
  const auto n = encode_base64url(Signer::rsa().number("n"));
  const auto rsa = [](const std::string& modulus, const std::string& exponent) {
    return R"({"kty":"RSA","n":")" + modulus + R"(","e":")" + exponent + "\"}";
  };
  CHECK(problem_of(rsa(n, "AQAB")).empty());
  CHECK(problem_of(rsa(n, "AQ")) == "n or e: not of an RSA key");       // 1: anybody could sign
  CHECK(problem_of(rsa(n, "Ag")) == "n or e: not of an RSA key");       // 2
  CHECK(problem_of(rsa(n, "AQAAAAE")) == "n or e: not of an RSA key");  // 33 bits
  CHECK(problem_of(rsa(n, "AQAB=")) == "e: is missing, or not base64url");
  CHECK(problem_of(rsa(n, "")) == "e: is missing, or not base64url");
  CHECK(problem_of(rsa(encode_base64url("\x80" + std::string(255, '\0')), "AQAB")) == "n or e: not of an RSA key");
  CHECK(problem_of(rsa(encode_base64url(std::string(2048, '\xff')), "AQAB")) == "n: 16384 bits");

  const auto curve = Signer::curve("P-256");
  const auto ec = [](const std::string& crv, const std::string& x, const std::string& y) {
    return R"({"kty":"EC","crv":")" + crv + R"(","x":")" + encode_base64url(x) + R"(","y":")" + encode_base64url(y) +
           "\"}";
  };
  const auto x = curve.number("qx");
  auto y = curve.number("qy");
  CHECK(problem_of(ec("P-256", x, y)).empty());
  CHECK(problem_of(ec("P-384", x, y)) == "x or y: not as long as the curve's");
  CHECK(problem_of(ec("secp256k1", x, y)) == "crv: not a curve that is known");
  CHECK(problem_of(ec("P-256", x.substr(1), y)) == "x or y: not as long as the curve's");
  CHECK(problem_of(ec("P-256", std::string(32, '\0'), std::string(32, '\0'))) == "x and y: not a point of the curve");
  y[31] = static_cast<char>(y[31] ^ 1);
  CHECK(problem_of(ec("P-256", x, y)) == "x and y: not a point of the curve");

  const auto okp = [](const std::string& crv, const std::string& point) {
    return R"({"kty":"OKP","crv":")" + crv + R"(","x":")" + encode_base64url(point) + "\"}";
  };
  CHECK(problem_of(okp("X25519", std::string(32, 'a'))) == "crv: not a curve that signs");
  CHECK(problem_of(okp("Ed25519", std::string(31, 'a'))) == "x: not as long as the curve's");
  CHECK(problem_of(okp("Ed448", std::string(32, 'a'))) == "x: not as long as the curve's");
}

TEST_CASE("jwt key set: what of it can be used") {
  const auto problem = [](const std::string& text) {
    const auto set = KeySet::parse(text);
    return set ? std::string() : set.error().message;
  };
  const auto good = Signer::edwards("Ed25519").jwk();
  CHECK(problem(R"({"keys":[)" + good + "]}").empty());
  CHECK(problem(R"({"keys":[1,{"kty":"oct","k":"AA"},)" + good + R"(],"more":1})").empty());
  CHECK(problem(R"({"keys":[{"kty":"oct","k":"AA"}]})") ==
        "no key that can be used: keys[0].kty: not a kind that is known");
  CHECK(problem(R"({"keys":[]})") == "no key that can be used");
  CHECK(problem(R"({"keys":{}})") == "keys: is missing, or not a list");
  CHECK(problem("{}") == "keys: is missing, or not a list");
  CHECK(problem(R"({"keys":[],"keys":[)" + good + "]}") == "a member is there twice");
  CHECK(problem("<html>").starts_with("not JSON"));
  CHECK(problem("").starts_with("not JSON"));
  std::string many = good;
  for (int i = 0; i < 256; ++i) many += "," + good;
  CHECK(problem(R"({"keys":[)" + many + "]}") == "keys: more than 256");
}

constexpr std::string_view kJoe =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
constexpr std::chrono::sys_seconds kJoesTime{std::chrono::seconds(1'300'000'000)};

TEST_CASE("jwt: the example of RFC 7515 A.2") {
  auto rule = rule_with(
      R"({"keys":[{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-)"
      R"(Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63k)"
      R"(paSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX)"
      R"(FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]})");
  rule.issuer = "joe";
  const auto token = "eyJhbGciOiJSUzI1NiJ9." + std::string(kJoe) +
                     ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG"
                     "bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
                     "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6"
                     "LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
  const auto verifier = verifier_of({rule});
  CHECK(verdict(verifier, token, kJoesTime) == "");
  CHECK(verdict(verifier, token, kNow) == "Jwt is expired");
}

TEST_CASE("jwt: the example of RFC 7515 A.3") {
  auto rule = rule_with(R"({"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                        R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})");
  rule.issuer = "joe";
  const auto token = "eyJhbGciOiJFUzI1NiJ9." + std::string(kJoe) +
                     ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
  CHECK(verdict(verifier_of({rule}), token, kJoesTime) == "");
}

TEST_CASE("jwt: the example of RFC 8037 A.4, whose payload is no JSON") {
  const auto key = key_of(R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})");
  REQUIRE(key);
  const auto signature =
      decode_base64url("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
  const auto* algorithm = jwt::find_algorithm("EdDSA");
  const std::string text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
  CHECK(key->verify(*algorithm, text, *signature));
  CHECK(!key->verify(*algorithm, text + "x", *signature));
  CHECK(!key->verify(*algorithm, text, *signature + "x"));
}

}  // namespace
}  // namespace underpass::test
