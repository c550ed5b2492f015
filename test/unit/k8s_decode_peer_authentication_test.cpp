// SPDX-License-Identifier: Apache-2.0
// Every field of a PeerAuthentication, and every way in which one can be wrong.
#include <doctest/doctest.h>

#include <string>

#include "agent/k8s/decode.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

using model::MtlsMode;

template <auto decoder>
auto decode(const std::string& yaml) {
  const auto documents = parse_yaml(yaml);
  REQUIRE_MESSAGE(documents.has_value(), yaml);
  return decoder(documents->front().value);
}

template <typename T>
std::string error_of(const Decoded<T>& decoded) {
  return decoded ? "it decodes" : decoded.error().path + ": " + decoded.error().cause;
}

std::string peers_with(const std::string& spec, const std::string& metadata = "") {
  return "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: web, namespace: shop" +
         metadata + "}, spec: {" + spec + "}}";
}

model::PeerAuthentication good(const std::string& spec, const std::string& metadata = "") {
  auto decoded = decode<decode_peer_authentication>(peers_with(spec, metadata));
  REQUIRE_MESSAGE(decoded.has_value(), error_of(decoded));
  return std::move(*decoded);
}

std::string bad(const std::string& spec, const std::string& metadata = "") {
  return error_of(decode<decode_peer_authentication>(peers_with(spec, metadata)));
}

TEST_CASE("peer authentication: everything there is") {
  const auto decoded = decode<decode_peer_authentication>(R"(
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: web, namespace: shop, creationTimestamp: 2026-01-02T03:04:05Z}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: STRICT}
  portLevelMtls:
    80: {mode: DISABLE}
    "8080": {mode: PERMISSIVE}
    8081: {mode: UNSET}
    65535: {}
status: {}
)");
  REQUIRE_MESSAGE(decoded.has_value(), error_of(decoded));
  CHECK(*decoded == model::PeerAuthentication{.id = {"shop", "web"},
                                              .created = "2026-01-02T03:04:05Z",
                                              .selector = {{"app", "web"}},
                                              .mode = MtlsMode::kStrict,
                                              .port_modes = {{80, MtlsMode::kDisable},
                                                             {8080, MtlsMode::kPermissive},
                                                             {8081, MtlsMode::kUnset},
                                                             {65535, MtlsMode::kUnset}}});
}

TEST_CASE("peer authentication: what is absent, null or empty has its default") {
  const model::PeerAuthentication plain{.id = {"shop", "web"}, .created = "", .selector = {}, .port_modes = {}};
  CHECK(good("") == plain);
  CHECK(good("selector: {}, mtls: {}") == plain);
  CHECK(good("selector: {matchLabels: {}}, mtls: {mode: UNSET}") == plain);
  CHECK(good("selector: null, mtls: null, portLevelMtls: null") == plain);
  CHECK(good("mtls: {mode: DISABLE}").mode == MtlsMode::kDisable);
  CHECK(good("mtls: {mode: PERMISSIVE}").mode == MtlsMode::kPermissive);
  CHECK(decode<decode_peer_authentication>("{metadata: {name: web, namespace: shop}}").value() == plain);
}

TEST_CASE("peer authentication: what is wrong is said by path and cause") {
  struct Row {
    const char* spec;
    const char* message;
  };
  const Row rows[] = {
      {"mtls: {mode: strict}", "spec.mtls.mode: \"strict\": must be one of UNSET, DISABLE, PERMISSIVE, STRICT"},
      {"mtls: {mode: ''}", "spec.mtls.mode: \"\": must be one of UNSET, DISABLE, PERMISSIVE, STRICT"},
      {"mtls: {mode: 3}", "spec.mtls.mode: 3: must be a string (put it in quotes)"},
      {"mtls: STRICT", "spec.mtls: \"STRICT\": must be a mapping"},
      {"mtls: {Mode: STRICT}", "spec.mtls.Mode: unknown field"},
      {"mode: STRICT", "spec.mode: unknown field"},
      {"mTLS: {mode: STRICT}", "spec.mTLS: unknown field"},
      {"selector: {app: web}", "spec.selector.app: unknown field"},
      {"selector: {matchExpressions: [{key: a, operator: Exists}]}",
       "spec.selector.matchExpressions: not supported: use matchLabels"},
      {"selector: {matchLabels: {app: 5}}", "spec.selector.matchLabels.app: 5: must be a string (put it in quotes)"},
      {"portLevelMtls: {80: {mode: STRICT}}", "spec.portLevelMtls: only with a selector"},
      {"selector: {matchLabels: {}}, portLevelMtls: {80: {mode: STRICT}}", "spec.portLevelMtls: only with a selector"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {}", "spec.portLevelMtls: must not be empty"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: [80]", "spec.portLevelMtls: a list: must be a mapping"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {0: {}}", "spec.portLevelMtls.0: the port must be 1 to 65535"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {65536: {}}",
       "spec.portLevelMtls.65536: the port must be 1 to 65535"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {'080': {}}",
       "spec.portLevelMtls.080: the port must be 1 to 65535"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {http: {}}",
       "spec.portLevelMtls.http: the port must be 1 to 65535"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {80: null}", "spec.portLevelMtls.80: missing"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {80: STRICT}",
       "spec.portLevelMtls.80: \"STRICT\": must be a mapping"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {80: {mode: ON}}",
       "spec.portLevelMtls.80.mode: \"ON\": must be one of UNSET, DISABLE, PERMISSIVE, STRICT"},
      {"selector: {matchLabels: {a: b}}, portLevelMtls: {80: {mode: STRICT, modes: a}}",
       "spec.portLevelMtls.80.modes: unknown field"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.spec);
    CHECK(bad(row.spec) == row.message);
  }
  CHECK(bad("", ", annotations: {istio.io/dry-run: 'true'}") ==
        "metadata.annotations[istio.io/dry-run]: only an AuthorizationPolicy has a dry run");
  CHECK(bad("", ", creationTimestamp: x").starts_with("metadata.creationTimestamp: \"x\": not a time"));
  CHECK(error_of(decode<decode_peer_authentication>("{metadata: {name: a}, mtls: {mode: STRICT}}")) ==
        "mtls: unknown field");
}

}  // namespace
}  // namespace underpass::k8s
