// SPDX-License-Identifier: Apache-2.0
// Every field of the Mesh, and every way in which one can be wrong; and how lengths of time are read.
#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_duration.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

using namespace std::chrono_literals;

Decoded<model::MeshConfig> decode(const std::string& yaml) {
  const auto documents = parse_yaml(yaml);
  REQUIRE_MESSAGE(documents.has_value(), yaml);
  return decode_mesh(documents->front().value);
}

Decoded<model::MeshConfig> mesh(const std::string& spec) {
  return decode("{apiVersion: underpass.dev/v1alpha1, kind: Mesh, metadata: {name: default}, spec: {" + spec + "}}");
}

std::string error_of(const Decoded<model::MeshConfig>& decoded) {
  return decoded ? "it decodes" : decoded.error().path + ": " + decoded.error().cause;
}

TEST_CASE("mesh: its fields and their defaults") {
  CHECK(mesh("trustDomain: corp.example.com, rootNamespace: mesh").value() ==
        model::MeshConfig{.trust_domain = "corp.example.com", .root_namespace = "mesh"});
  CHECK(mesh("").value() == model::MeshConfig{.trust_domain = "cluster.local", .root_namespace = "istio-system"});
  CHECK(mesh("trustDomain: '', rootNamespace: null").value() == model::MeshConfig{});
  CHECK(decode("{metadata: {name: default}}").value() == model::MeshConfig{});

  CHECK(error_of(mesh("trustDomain: Corp")) ==
        "spec.trustDomain: \"Corp\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)");
  CHECK(error_of(mesh("trustDomain: spiffe://a")) ==
        "spec.trustDomain: \"spiffe://a\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)");
  CHECK(error_of(mesh("rootNamespace: a.b")) ==
        "spec.rootNamespace: \"a.b\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)");
  CHECK(error_of(mesh("trustDomain: 5")) == "spec.trustDomain: 5: must be a string (put it in quotes)");
  CHECK(error_of(mesh("trustDomian: a")) == "spec.trustDomian: unknown field");
  CHECK(error_of(decode("{metadata: {name: other}, spec: {}}")) ==
        "metadata.name: \"other\": must be \"default\": there is one Mesh");
}

TEST_CASE("mesh: who shares a worker, and how workers behave") {
  CHECK(mesh("isolation: shared").value().isolation == model::Isolation::kShared);
  CHECK(mesh("isolation: namespace").value().isolation == model::Isolation::kNamespace);
  CHECK(mesh("").value().isolation == model::Isolation::kNamespace);
  CHECK(mesh("proxy: {threads: 4, connectTimeout: 2s, idleTimeout: 1h30m, drainTimeout: 500ms}").value().proxy ==
        ProxySettings{.threads = 4, .connect_timeout = 2s, .idle_timeout = 90min, .drain_timeout = 500ms});
  CHECK(mesh("proxy: {idleTimeout: '0', drainTimeout: 0s}").value().proxy ==
        ProxySettings{.idle_timeout = 0s, .drain_timeout = 0s});
  CHECK(mesh("proxy: {}").value().proxy == ProxySettings{});
  CHECK(mesh("proxy: null").value().proxy == ProxySettings{});
  CHECK(mesh("proxy: {threads: null, connectTimeout: null}").value().proxy == ProxySettings{});

  const std::string not_one =
      ": not a duration in whole milliseconds of at most 8760h, for example 10s, 500ms or 1h30m";
  CHECK(error_of(mesh("isolation: pod")) == "spec.isolation: \"pod\": must be one of namespace, shared");
  CHECK(error_of(mesh("proxy: fast")) == "spec.proxy: \"fast\": must be a mapping");
  CHECK(error_of(mesh("proxy: {workers: 1}")) == "spec.proxy.workers: unknown field");
  CHECK(error_of(mesh("proxy: {threads: 0}")) == "spec.proxy.threads: 0: must be 1 to 64");
  CHECK(error_of(mesh("proxy: {threads: 65}")) == "spec.proxy.threads: 65: must be 1 to 64");
  CHECK(error_of(mesh("proxy: {threads: '2'}")) == "spec.proxy.threads: \"2\": must be a number (without quotes)");
  CHECK(error_of(mesh("proxy: {connectTimeout: 0s}")) == "spec.proxy.connectTimeout: \"0s\": must be at least 1ms");
  CHECK(error_of(mesh("proxy: {connectTimeout: 10}")) ==
        "spec.proxy.connectTimeout: 10: must be a string (put it in quotes)");
  CHECK(error_of(mesh("proxy: {idleTimeout: -1s}")) == "spec.proxy.idleTimeout: \"-1s\"" + not_one);
  CHECK(error_of(mesh("proxy: {drainTimeout: soon}")) == "spec.proxy.drainTimeout: \"soon\"" + not_one);
}

TEST_CASE("durations: as Go reads them") {
  struct Row {
    std::string_view text;
    std::optional<std::chrono::milliseconds> duration;
  };
  const Row rows[] = {
      {"0", 0ms},
      {"0s", 0ms},
      {"1ms", 1ms},
      {"10s", 10s},
      {"1m", 1min},
      {"1h", 1h},
      {"1h30m", 90min},
      {"1h1m1s1ms", 3'661'001ms},
      {"30m1h", 90min},
      {"1.5s", 1500ms},
      {".5s", 500ms},
      {"1.s", 1s},
      {"0.25h", 15min},
      {"1.0000s", 1s},
      {"007s", 7s},
      {"1000us", 1ms},
      {"1000\u00b5s", 1ms},
      {"1000\u03bcs", 1ms},
      {"1000000ns", 1ms},
      {"999999ns1ns", 1ms},
      {"8760h", 8760h},
      {"31536000000ms", 8760h},
      {"8760h1ms", std::nullopt},
      {"8760.1h", std::nullopt},
      {"99999999999999999999999999h", std::nullopt},
      {"99999999999999999999999999ns", std::nullopt},
      {"1us", std::nullopt},
      {"1.0005s", std::nullopt},
      {"0.3333333333333333333333h", std::nullopt},
      {"", std::nullopt},
      {"1", std::nullopt},
      {"00", std::nullopt},
      {"s", std::nullopt},
      {".s", std::nullopt},
      {"1 s", std::nullopt},
      {" 1s", std::nullopt},
      {"1s ", std::nullopt},
      {"1S", std::nullopt},
      {"1d", std::nullopt},
      {"-1s", std::nullopt},
      {"+1s", std::nullopt},
      {"1..5s", std::nullopt},
      {"1e3s", std::nullopt},
      {"1s2", std::nullopt},
      {std::string_view("1s\0", 3), std::nullopt},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(parse_duration(row.text) == row.duration);
  }
}

}  // namespace
}  // namespace underpass::k8s
