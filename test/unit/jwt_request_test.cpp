// SPDX-License-Identifier: Apache-2.0
// Where tokens are looked for in a request, what becomes of the request, several rules, and what is remembered.
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "test/unit/jwt_scene.h"
#include "test/unit/jwt_signer.h"

namespace underpass::test {
namespace {

const Signer& signer() {
  static const auto one = Signer::edwards("Ed25519");
  return one;
}

std::string good(const std::string& more = "") { return signer().token("EdDSA", claims(more)); }

model::JwtRule plain_rule() { return rule_with(signer().set()); }

// What is forwarded, "path\nfields", or what the client is told.
std::string after(const jwt::Verifier& verifier, http::Request request) {
  const auto outcome = verifier.verify(request, kNow);
  if (!outcome.ok) return outcome.message;
  return request.path + (request.fields.empty() ? "" : "\n" + text_of(request.fields));
}

TEST_CASE("jwt request: one without a token passes, and has no claims") {
  const auto verifier = verifier_of({plain_rule()});
  auto request = request_with({{"accept", "*/*"}}, "/a?b=c");
  const auto outcome = verifier.verify(request, kNow);
  CHECK(outcome.ok);
  CHECK(!outcome.claims);
  CHECK(request.path == "/a?b=c");
}

TEST_CASE("jwt request: the default places") {
  const auto verifier = verifier_of({plain_rule()});
  const auto token = good();
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + token}})) == "/");
  CHECK(after(verifier, request_with({{"authorization", "bearer \t " + token + " "}})) == "/");
  CHECK(after(verifier, request_with({}, "/a?access_token=" + token)) == "/a");
  CHECK(after(verifier, request_with({{"authorization", "Basic eDp5"}})) == "/\nauthorization: Basic eDp5");
  CHECK(after(verifier, request_with({{"authorization", token}})) == "/\nauthorization: " + token);
  CHECK(after(verifier, request_with({{"x-token", token}, {"cookie", "access_token=x"}})) ==
        "/\nx-token: " + token + "\ncookie: access_token=x");
  CHECK(after(verifier, request_with({{"authorization", "Bearer "}})) ==
        "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections");
}

TEST_CASE("jwt request: with places of its own a rule looks nowhere else") {
  auto rule = plain_rule();
  rule.from_headers = {{.name = "x-jwt", .prefix = ""}, {.name = "x-auth", .prefix = "Token "}};
  rule.from_params = {"t"};
  rule.from_cookies = {"session"};
  const auto verifier = verifier_of({rule});
  const auto token = good();
  CHECK(after(verifier, request_with({{"x-jwt", token}})) == "/");
  CHECK(after(verifier, request_with({{"x-auth", "Token " + token}})) == "/");
  CHECK(after(verifier, request_with({{"cookie", "session=" + token}})) == "/");
  CHECK(after(verifier, request_with({{"cookie", "session=\"" + token + "\""}})) == "/");
  CHECK(after(verifier, request_with({}, "/?t=" + token)) == "/");
  CHECK(after(verifier, request_with({{"authorization", "Bearer x"}}, "/?access_token=x")) ==
        "/?access_token=x\nauthorization: Bearer x");
}

TEST_CASE("jwt request: a token that is taken out leaves the rest as it was") {
  auto rule = plain_rule();
  rule.from_headers = {{.name = "authorization", .prefix = "Bearer "}};
  rule.from_params = {"t"};
  rule.from_cookies = {"c"};
  const auto verifier = verifier_of({rule});
  const auto t = good();
  const struct {
    std::string path;
    std::string left;
  } paths[] = {
      {"/a?t=" + t, "/a"},
      {"/a?x=1&t=" + t + "&y=%41+b&&z", "/a?x=1&y=%41+b&&z"},
      {"/a?t=" + t + "&x=?&y", "/a?x=?&y"},
      {"/a?x&t=" + t, "/a?x"},
      {"/a?t=" + t + "&t=" + t + "&tt=1", "/a?tt=1"},
      {"/a?%74=" + t, "/a"},
      {"/t=" + t, "/t=" + t},
  };
  for (const auto& [path, left] : paths) CHECK(after(verifier, request_with({}, path)) == left);
  const struct {
    std::string cookie;
    std::string left;
  } cookies[] = {
      {"c=" + t, "/"},
      {"a=1; c=" + t + "; b=2", "/\ncookie: a=1; b=2"},
      {"c=" + t + "; b=2", "/\ncookie: b=2"},
      {"a=1;c=" + t, "/\ncookie: a=1"},
      {"cc=1; c=" + t + ";  d=\"x y\"; e", "/\ncookie: cc=1;  d=\"x y\"; e"},
  };
  for (const auto& [cookie, left] : cookies) CHECK(after(verifier, request_with({{"cookie", cookie}})) == left);
  CHECK(after(verifier, request_with({{"a", "1"}, {"cookie", "x=1"}, {"cookie", "c=" + t}, {"b", "2"}})) ==
        "/\na: 1\ncookie: x=1\nb: 2");
  CHECK(after(verifier, request_with({{"authorization", "Basic x"}, {"authorization", "Bearer " + t}})) ==
        "/\nauthorization: Basic x");

  rule.forward_original_token = true;
  const auto keeps = verifier_of({rule});
  CHECK(after(keeps, request_with({{"cookie", "c=" + t}, {"authorization", "Bearer " + t}}, "/?t=" + t)) ==
        "/?t=" + t + "\ncookie: c=" + t + "\nauthorization: Bearer " + t);
}

TEST_CASE("jwt request: of several tokens each must be good") {
  const auto verifier = verifier_of({plain_rule()});
  const auto token = good();
  const auto bad = Signer::edwards("Ed25519").token("EdDSA", claims());
  const auto fails = "Jwt verification fails";
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + token}}, "/?access_token=" + token)) == "/");
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + token}}, "/?access_token=" + bad)) == fails);
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + bad}}, "/?access_token=" + token)) == fails);
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + token}, {"authorization", "Bearer " + bad}})) ==
        fails);
  CHECK(after(verifier, request_with({}, "/?access_token=" + token + "&access_token=" + bad)) == fails);
  std::string many = "/?";
  for (int i = 0; i < 8; ++i) many += "access_token=" + token + "&";
  CHECK(after(verifier, request_with({}, many)) == "/");
  CHECK(after(verifier, request_with({}, many + "access_token=" + token)) == "Found multiple Jwt tokens");
}

TEST_CASE("jwt request: several issuers, each with its places and keys") {
  const auto other = Signer::curve("P-256");
  auto second = rule_with(other.set());
  second.issuer = "https://other.example";
  second.from_headers = {{.name = "x-other", .prefix = ""}};
  const auto verifier = verifier_of({plain_rule(), second});
  const auto theirs = other.token("ES256", R"({"iss":"https://other.example","sub":"bob"})");
  const auto forged = signer().token("EdDSA", R"({"iss":"https://other.example","sub":"bob"})");
  const auto unknown = "Jwt issuer is not configured";
  CHECK(after(verifier, request_with({{"x-other", theirs}})) == "/");
  CHECK(after(verifier, request_with({{"x-other", good()}})) == unknown);
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + theirs}})) == unknown);
  CHECK(after(verifier, request_with({{"x-other", theirs}})) == "/");  // remembered now
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + theirs}})) == unknown);
  CHECK(after(verifier, request_with({{"x-other", forged}})) == "Jwks doesn't have key to match kid or alg from Jwt");

  auto request = request_with({{"authorization", "Bearer " + good()}, {"x-other", theirs}});
  const auto outcome = verifier.verify(request, kNow);
  REQUIRE(outcome.ok);
  CHECK(outcome.claims->principal ==
        "https://other.example\xff"
        "bob");
}

TEST_CASE("jwt request: of rules with one issuer the first that takes the token counts") {
  auto first = plain_rule();
  first.audiences = {"shop"};
  first.output_payload_to_header = "x-shop";
  auto second = plain_rule();
  second.audiences = {"bank"};
  second.output_payload_to_header = "x-bank";
  const auto verifier = verifier_of({first, second});
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + good(R"("aud":"shop")")}})).contains("x-shop"));
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + good(R"("aud":"bank")")}})).contains("x-bank"));
  CHECK(after(verifier, request_with({{"authorization", "Bearer " + good(R"("aud":"park")")}})) ==
        "Audiences in Jwt are not allowed");
}

TEST_CASE("jwt request: a rule without keys refuses every token of its issuer") {
  RoutingTable table;
  table.jwks["https://issuer.example/good"] = signer().set();
  table.jwks["https://issuer.example/bad"] = R"({"keys":[]})";
  auto rule = rule_with("");
  const auto with_uri = [&](const std::string& uri) {
    rule.jwks_uri = uri;
    return verdict(verifier_of({rule}, table), good());
  };
  CHECK(with_uri("https://issuer.example/good") == "");
  CHECK(with_uri("https://issuer.example/bad") == "Jwks doesn't have any valid public key");
  CHECK(with_uri("https://issuer.example/never") == "Jwks remote fetch is failed");
  CHECK(verdict(verifier_of({rule_with("no JSON")}), good()) == "Jwks doesn't have any valid public key");
  auto request = request_with({{"authorization", "Bearer " + good()}});
  const auto outcome = verifier_of({rule}, table).verify(request, kNow);
  CHECK(outcome.cause ==
        "Jwks remote fetch is failed: RequestAuthentication shop/jwt: jwtRules[0]: no keys were fetched yet from "
        "https://issuer.example/never");
}

TEST_CASE("jwt request: outputs replace what the client sent, whether or not there is a token") {
  auto rule = plain_rule();
  rule.output_payload_to_header = "x-payload";
  rule.output_claims = {{.header = "x-role", .claim = {"role"}}, {.header = "x-unit", .claim = {"org", "unit"}}};
  const auto verifier = verifier_of({rule});
  const std::vector<std::pair<std::string, std::string>> forged{
      {"x-payload", "e30"}, {"x-role", "root"}, {"x-unit", "all"}, {"x-unit", "more"}, {"x-kept", "1"}};
  CHECK(after(verifier, request_with(forged)) == "/\nx-kept: 1");
  auto fields = forged;
  const auto payload = claims(R"("role":"admin","org":{"unit":"north"})");
  fields.emplace_back("authorization", "Bearer " + signer().token("EdDSA", payload));
  CHECK(after(verifier, request_with(fields)) ==
        "/\nx-kept: 1\nx-payload: " + encode_base64url(payload) + "\nx-role: admin\nx-unit: north");
}

TEST_CASE("jwt request: which claims a header can have") {
  const struct {
    std::string value;  // of claim "a"
    std::string header;
  } rows[] = {
      {R"("text with blanks")", "text with blanks"},
      {R"("\u00e4")", "\u00e4"},
      {"7", "7"},
      {"-7", "-7"},
      {"18446744073709551615", "18446744073709551615"},
      {"9007199254740993", "9007199254740993"},
      {"1.5", "1.5"},
      {"true", "true"},
      {"false", "false"},
      {R"("")", ""},
      {"null", ""},
      {R"(["a"])", ""},
      {R"({"b":1})", ""},
      {R"("a\r\nx-admin: 1")", ""},
      {R"("a\u0000b")", ""},
      {R"("a\u007f")", ""},
      {R"(" a")", ""},
      {R"("a\t")", ""},
  };
  auto rule = plain_rule();
  rule.output_claims = {{.header = "x-a", .claim = {"a"}}, {.header = "x-deep", .claim = {"a", "b", "c"}}};
  const auto verifier = verifier_of({rule});
  for (const auto& [value, header] : rows) {
    CAPTURE(value);
    CHECK(after(verifier, request_with({{"authorization", "Bearer " + good(R"("a":)" + value)}, {"x-a", "forged"}})) ==
          (header.empty() ? "/" : "/\nx-a: " + header));
  }
}

TEST_CASE("jwt request: a token that is remembered expires all the same") {
  const auto verifier = verifier_of({plain_rule()});
  const auto token = good(R"("exp":1800000000,"nbf":1799999000)");
  CHECK(verdict(verifier, token, kNow) == "");
  CHECK(verdict(verifier, token, kNow) == "");
  CHECK(verdict(verifier, token, kNow + std::chrono::seconds(60)) == "");
  CHECK(verdict(verifier, token, kNow + std::chrono::seconds(61)) == "Jwt is expired");
  CHECK(verdict(verifier, token, kNow - std::chrono::seconds(2000)) == "Jwt not yet valid");
  CHECK(verdict(verifier, token, kNow) == "");
}

TEST_CASE("jwt request: threads share what is remembered") {
  const auto verifier = verifier_of({plain_rule()});
  std::vector<std::string> tokens;
  for (int i = 0; i < 600; ++i) tokens.push_back(good(R"("n":)" + std::to_string(i)));  // more than there are places
  std::atomic<int> wrong{0};
  const auto work = [&] {
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        auto request = request_with({{"authorization", "Bearer " + tokens[i]}});
        const auto outcome = verifier.verify(request, kNow);
        if (!outcome.ok || outcome.claims->all.at("n") != static_cast<std::int64_t>(i)) ++wrong;
      }
    }
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace underpass::test
