// SPDX-License-Identifier: Apache-2.0
// The authority's Secret and the trust bundle's ConfigMap, read and written as objects of the API server.
#include "agent/controller/secret_object.h"

#include <doctest/doctest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <string>

#include "agent/k8s/base64.h"

namespace underpass::controller {
namespace {

namespace json = boost::json;

const NamespacedName kSecret{.ns = "underpass-system", .name = "underpass-ca"};
const NamespacedName kMap{.ns = "underpass-system", .name = "underpass-trust"};

std::string at(const json::value& object, const char* pointer) {
  return std::string(object.at_pointer(pointer).as_string());
}

std::string problem(const std::string& text) {
  const auto decoded = decode_secret(json::parse(text));
  REQUIRE_FALSE(decoded);
  return decoded.error().message;
}

TEST_CASE("secret: its files, and nothing else in it") {
  const auto decoded = decode_secret(json::parse(R"({"data": {"root-cert.pem": "cm9vdA==", "ca-key.pem": "a2V5",
      "cert-chain.pem": "", "ca-cert.pem": null, "tls.crt": "!"}})"));
  REQUIRE(decoded);
  CHECK(decoded->files == ca::Files{{"root-cert.pem", "root"}, {"ca-key.pem", "key"}});
  CHECK_FALSE(decoded->rotate);
}

TEST_CASE("secret: the annotation that asks for another root, whatever it says") {
  for (const char* value : {R"("now")", R"("")"}) {
    CAPTURE(value);
    const auto decoded = decode_secret(json::parse(R"({"metadata": {"annotations": {"underpass.dev/rotate-root": )" +
                                                   std::string(value) + R"(}}, "data": {"ca-key.pem": "a2V5"}})"));
    REQUIRE(decoded);
    CHECK(decoded->rotate);
  }
  const auto other = decode_secret(json::parse(R"({"metadata": {"annotations": {"underpass.dev/rotate": "now"}},
      "data": {"ca-key.pem": "a2V5"}})"));
  REQUIRE(other);
  CHECK_FALSE(other->rotate);
}

TEST_CASE("secret: what cannot be an authority's, and which key it is") {
  const std::string none = "data: has none of root-cert.pem, ca-cert.pem, cert-chain.pem and ca-key.pem";
  CHECK(problem("{}") == none);
  CHECK(problem(R"({"data": {}})") == none);
  CHECK(problem(R"({"data": {"tls.crt": "a2V5", "tls.key": "a2V5"}})") == none);
  CHECK(problem(R"({"data": {"ca-key.pem": ""}})") == none);
  CHECK(problem(R"({"data": {"root-cert.pem": "cm9vdA==", "ca-key.pem": "-----BEGIN"}})") ==
        "data.ca-key.pem: no base64");
  CHECK(problem(R"({"data": {"ca-key.pem": 5}})").starts_with("data[ca-key.pem]: "));
  CHECK(problem(R"({"data": "ca-key.pem"})").starts_with("data: "));
}

TEST_CASE("secret: a new one") {
  const auto object = encode_secret(nullptr, kSecret, {{"ca-key.pem", "key"}});
  CHECK(object == json::parse(R"({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "underpass-system",
      "name": "underpass-ca", "labels": {"app.kubernetes.io/part-of": "underpass"}}, "data": {"ca-key.pem": "a2V5"}})"));
  CHECK(decode_secret(object).value().files == ca::Files{{"ca-key.pem", "key"}});
}

TEST_CASE("secret: one that is there keeps its version and what others have in it") {
  const auto before = json::parse(R"({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
      "metadata": {"namespace": "underpass-system", "name": "underpass-ca", "resourceVersion": "77", "uid": "u",
        "labels": {"team": "net"}, "annotations": {"underpass.dev/rotate-root": "now", "backup": "yes"}},
      "data": {"ca-key.pem": "b2xk", "next-root-key.pem": "b2xk", "tls.crt": "eA=="}})");
  const auto after = encode_secret(before, kSecret, {{"ca-key.pem", "new"}, {"root-cert.pem", "root"}});
  CHECK(at(after, "/metadata/resourceVersion") == "77");
  CHECK(after.at("metadata").at("labels") == before.at("metadata").at("labels"));
  CHECK(after.at("metadata").at("annotations") == json::parse(R"({"backup": "yes"})"));
  CHECK(at(after, "/type") == "Opaque");
  CHECK(after.at("data") == json::parse(R"({"ca-key.pem": "bmV3", "root-cert.pem": "cm9vdA==", "tls.crt": "eA=="})"));
  CHECK_FALSE(decode_secret(after).value().rotate);
  // Whatever stands where the files are to be.
  CHECK(
      encode_secret(json::parse(R"({"metadata": {"annotations": null}, "data": null})"), kSecret, {{"ca-key.pem", "k"}})
          .at("data") == json::parse(R"({"ca-key.pem": "aw=="})"));
}

TEST_CASE("trust bundle: written where it is not there, or says something else") {
  const auto made = encode_bundle(nullptr, kMap, "roots\n");
  REQUIRE(made);
  CHECK(*made == json::parse(R"({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "underpass-system",
      "name": "underpass-trust", "labels": {"app.kubernetes.io/part-of": "underpass"}},
      "data": {"root-cert.pem": "roots\n"}})"));
  CHECK_FALSE(encode_bundle(*made, kMap, "roots\n"));

  for (const char* data :
       {R"({"root-cert.pem": "old", "other": "x"})", R"({"other": "x"})", R"({"root-cert.pem": null, "other": "x"})"}) {
    CAPTURE(data);
    const auto changed = encode_bundle(
        json::parse(R"({"metadata": {"resourceVersion": "5"}, "data": )" + std::string(data) + "}"), kMap, "new");
    REQUIRE(changed);
    CHECK(*changed ==
          json::parse(R"({"metadata": {"resourceVersion": "5"}, "data": {"root-cert.pem": "new", "other": "x"}})"));
  }
  CHECK(encode_bundle(json::parse(R"({"metadata": {}})"), kMap, "new"));
}

}  // namespace
}  // namespace underpass::controller
