// SPDX-License-Identifier: Apache-2.0
// Which certificate requests of a cluster the controller signs, and how long what it signs lasts.
#include "agent/controller/signing.h"

#include <doctest/doctest.h>

#include <boost/json/object.hpp>
#include <string>

#include "agent/k8s/base64.h"

namespace underpass::controller {
namespace {

namespace json = boost::json;
using std::chrono::hours;
using std::chrono::seconds;
using Kind = SigningVerdict::Kind;

const std::string kAgents = "system:serviceaccount:underpass-system:underpass-agent";
const std::string kWeb = "spiffe://cluster.local/ns/shop/sa/web";

// As the API server shows one that the agent of node-1 made for the account of one of its pods.
json::value good(const std::string& identity = kWeb) {
  return json::object{
      {"metadata", json::object{{"name", "underpass-node-1-x"}, {"creationTimestamp", "2026-01-02T03:04:05Z"}}},
      {"spec", json::object{{"signerName", ca::kSignerName},
                            {"username", kAgents},
                            {"groups", json::array{"system:serviceaccounts", "system:authenticated"}},
                            {"extra", json::object{{"authentication.kubernetes.io/node-name", json::array{"node-1"}},
                                                   {"authentication.kubernetes.io/pod-name", json::array{"agent-x"}}}},
                            {"usages", json::array{"client auth", "digital signature", "server auth"}},
                            {"request", k8s::encode_base64(ca::make_request(identity).value().pem)}}}};
}

json::object& spec_of(json::value& object) { return object.at("spec").as_object(); }

SigningVerdict verdict_on(const json::value& object) {
  const auto request = decode_signing_request(object);
  REQUIRE(request);
  return judge(*request, {.agents = kAgents},
               [](const std::string& node, std::string_view ns, std::string_view account) {
                 return node == "node-1" && ns == "shop" && account == "web";
               });
}

// Why it is not signed; "wait: …" where it may be later.
std::string cause(const json::value& object) {
  const auto verdict = verdict_on(object);
  CHECK(verdict.cause.empty() == (verdict.kind == Kind::kSign));
  return (verdict.kind == Kind::kWait ? "wait: " : "") + verdict.cause;
}

TEST_CASE("signing: an agent's request for an account of a pod of its node") {
  auto object = good();
  const auto request = decode_signing_request(object).value();
  CHECK(request.name == "underpass-node-1-x");
  CHECK(request.created == "2026-01-02T03:04:05Z");
  CHECK(request.signer == ca::kSignerName);
  CHECK(request.node == "node-1");
  CHECK(!request.approved);
  CHECK(!request.over);
  const auto verdict = verdict_on(object);
  CHECK(verdict.kind == Kind::kSign);
  CHECK(verdict.asked.identity == kWeb);
  CHECK(verdict.lasts == hours(24));
  spec_of(object)["expirationSeconds"] = 3600;
  CHECK(verdict_on(object).lasts == seconds(3600));
  spec_of(object)["expirationSeconds"] = 365 * 86400;
  CHECK(verdict_on(object).lasts == hours(24));
}

TEST_CASE("signing: nobody but an agent, and only for pods that the API server's own word for its node allows") {
  auto object = good();
  spec_of(object)["username"] = "system:serviceaccount:shop:underpass-agent";
  CHECK(cause(object) == "spec.username: \"system:serviceaccount:shop:underpass-agent\" is no agent");
  object = good();
  spec_of(object).erase("extra");
  CHECK(cause(object).starts_with("spec.extra: the API server says no authentication.kubernetes.io/node-name"));
  object = good();
  spec_of(object)["extra"].as_object()["authentication.kubernetes.io/node-name"] = json::array{"node-2"};
  CHECK(cause(object) == "wait: spec.request: Node node-2 runs no pod with ServiceAccount shop/web");
  CHECK(cause(good("spiffe://cluster.local/ns/shop/sa/db")) ==
        "wait: spec.request: Node node-1 runs no pod with ServiceAccount shop/db");
  CHECK(cause(good("spiffe://cluster.local/ns/bank/sa/web")).starts_with("wait: "));
  CHECK(cause(good("spiffe://other/ns/shop/sa/web")) ==
        "spec.request: spiffe://other/ns/shop/sa/web is not of the trust domain cluster.local");
}

TEST_CASE("signing: for no other use, and nothing that is no request for an SVID") {
  auto object = good();
  for (const auto& usages :
       {json::array{}, json::array{"client auth", "digital signature"},
        json::array{"client auth", "digital signature", "server auth", "cert sign"}, json::array{"any"}}) {
    spec_of(object)["usages"] = usages;
    CHECK(cause(object) == "spec.usages: must be digital signature, client auth and server auth");
  }
  object = good();
  spec_of(object)["request"] = k8s::encode_base64("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
  CHECK(cause(object).starts_with("spec.request: no certificate request in PEM"));
}

TEST_CASE("signing: what is over, approved, or cannot be read") {
  auto object = good();
  const auto with_condition = [&](const char* type) {
    object.as_object()["status"] = {{"conditions", json::array{json::object{{"type", type}, {"status", "True"}}}}};
    return decode_signing_request(object).value();
  };
  CHECK(with_condition("Approved").approved);
  CHECK(!with_condition("Approved").over);
  CHECK(with_condition("Denied").over);
  CHECK(with_condition("Failed").over);
  object.as_object()["status"] = {{"certificate", "LS0tLS1C"}};
  CHECK(decode_signing_request(object).value().over);

  const auto problem = [](const json::value& bad) {
    const auto request = decode_signing_request(bad);
    REQUIRE(!request);
    return request.error().path;
  };
  object = good();
  spec_of(object)["request"] = "*";
  CHECK(problem(object) == "spec.request");
  spec_of(object).erase("request");
  CHECK(problem(object) == "spec.request");
  object = good();
  spec_of(object)["extra"].as_object()["authentication.kubernetes.io/node-name"] = json::array{"node-1", "node-2"};
  CHECK(problem(object) == "spec.extra[authentication.kubernetes.io/node-name]");
  object = good();
  spec_of(object)["usages"] = "client auth";
  CHECK(problem(object) == "spec.usages");
}

TEST_CASE("base64: of any length, there and back") {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"})
    CHECK(k8s::decode_base64(k8s::encode_base64(text)) == text);
  CHECK(k8s::encode_base64("ab") == "YWI=");
  CHECK(k8s::decode_base64("YWJj\nYWJj") == "abcabc");
  CHECK(!k8s::decode_base64("Y*=="));
}

}  // namespace
}  // namespace underpass::controller
