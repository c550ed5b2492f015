// SPDX-License-Identifier: Apache-2.0
// Every field of the Mesh, and every way in which one can be wrong; and how lengths of time are read.
#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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

TEST_CASE("mesh: how workers treat HTTP") {
  CHECK(mesh("proxy: {http: {}}").value().proxy.http == HttpSettings{});
  CHECK(mesh("proxy: {http: null}").value().proxy.http == HttpSettings{});
  CHECK(mesh("proxy: {http: {pathNormalization: DECODE_AND_MERGE_SLASHES, headersWithUnderscores: drop, "
             "maxRequestHeadersKiB: 8, maxRequestHeaders: 7, maxConcurrentStreams: 6, initialStreamWindowBytes: 70000, "
             "initialConnectionWindowBytes: 80000, requestHeadersTimeout: 5s, streamIdleTimeout: '0', "
             "keepAliveTimeout: 4s, detectionTimeout: 3ms, maxRequests: 2}}")
            .value()
            .proxy.http == HttpSettings{.path_normalization = PathNormalization::kDecodeAndMergeSlashes,
                                        .headers_with_underscores = Underscores::kDrop,
                                        .max_request_headers_bytes = 8192,
                                        .max_request_headers = 7,
                                        .max_concurrent_streams = 6,
                                        .stream_window_bytes = 70000,
                                        .connection_window_bytes = 80000,
                                        .request_headers_timeout = 5s,
                                        .stream_idle_timeout = 0s,
                                        .keep_alive_timeout = 4s,
                                        .detection_timeout = 3ms,
                                        .max_requests_per_worker = 2});
  const std::pair<std::string, PathNormalization> normalizations[] = {
      {"NONE", PathNormalization::kNone},
      {"BASE", PathNormalization::kBase},
      {"MERGE_SLASHES", PathNormalization::kMergeSlashes},
  };
  for (const auto& [name, value] : normalizations)
    CHECK(mesh("proxy: {http: {pathNormalization: " + name + "}}").value().proxy.http.path_normalization == value);
  CHECK(mesh("proxy: {http: {headersWithUnderscores: allow}}").value().proxy.http.headers_with_underscores ==
        Underscores::kAllow);

  CHECK(error_of(mesh("proxy: {http: fast}")) == "spec.proxy.http: \"fast\": must be a mapping");
  CHECK(error_of(mesh("proxy: {http: {pathNormalisation: BASE}}")) ==
        "spec.proxy.http.pathNormalisation: unknown field");
  CHECK(error_of(mesh("proxy: {http: {pathNormalization: base}}")) ==
        "spec.proxy.http.pathNormalization: \"base\": must be one of NONE, BASE, MERGE_SLASHES, "
        "DECODE_AND_MERGE_SLASHES");
  CHECK(error_of(mesh("proxy: {http: {headersWithUnderscores: REJECT_REQUEST}}")) ==
        "spec.proxy.http.headersWithUnderscores: \"REJECT_REQUEST\": must be one of allow, reject, drop");
  CHECK(error_of(mesh("proxy: {http: {initialStreamWindowBytes: 65534}}")) ==
        "spec.proxy.http.initialStreamWindowBytes: 65534: must be 65535 to 2147483647");
  CHECK(error_of(mesh("proxy: {http: {detectionTimeout: 0s}}")) ==
        "spec.proxy.http.detectionTimeout: \"0s\": must be at least 1ms");
}

// A provider "opa" with these fields beside its service and port.
std::string opa(const std::string& fields) {
  return "extensionProviders: [{name: opa, envoyExtAuthzHttp: {service: opa.platform, port: 80" +
         (fields.empty() ? "" : ", " + fields) + "}}]";
}

TEST_CASE("mesh: extension providers") {
  using Kind = model::StringMatch::Kind;
  CHECK(mesh("extensionProviders: []").value() == model::MeshConfig{});
  CHECK(mesh("extensionProviders: null").value() == model::MeshConfig{});
  model::ExtAuthzProvider least;
  least.name = "opa";
  least.service = {"platform", "opa"};
  least.port = 80;
  const auto of = [](const std::string& spec) { return mesh(spec).value().providers; };
  CHECK(of(opa("")) == std::map<std::string, model::ExtAuthzProvider>{{"opa", least}});
  CHECK(least.timeout == 600ms);
  CHECK(of(opa("timeout: 1s, failOpen: true, statusOnError: '503', pathPrefix: /check, "
               "includeRequestHeadersInCheck: [Cookie, X-*, '*-Id', '*'], "
               "includeAdditionalHeadersInCheck: {X-From: Underpass}, "
               "includeRequestBodyInCheck: {maxRequestBytes: 4096, allowPartialMessage: true}, "
               "headersToUpstreamOnAllow: [x-user], headersToDownstreamOnDeny: [set-cookie], "
               "headersToDownstreamOnAllow: ['x-*']"))
            .at("opa") == model::ExtAuthzProvider{.name = "opa",
                                                  .service = {"platform", "opa"},
                                                  .port = 80,
                                                  .timeout = 1s,
                                                  .fail_open = true,
                                                  .status_on_error = 503,
                                                  .path_prefix = "/check",
                                                  .include_request_headers = {{Kind::kExact, "cookie"},
                                                                              {Kind::kPrefix, "x-"},
                                                                              {Kind::kSuffix, "-id"},
                                                                              {Kind::kPresent, ""}},
                                                  .include_additional_headers = {{"x-from", "Underpass"}},
                                                  .max_request_bytes = 4096,
                                                  .allow_partial_message = true,
                                                  .headers_to_upstream_on_allow = {{Kind::kExact, "x-user"}},
                                                  .headers_to_downstream_on_deny = {{Kind::kExact, "set-cookie"}},
                                                  .headers_to_downstream_on_allow = {{Kind::kPrefix, "x-"}}});
  const auto with_service = [](const std::string& service) {
    return "extensionProviders: [{name: opa, envoyExtAuthzHttp: {service: '" + service + "', port: 80}}]";
  };
  for (const char* service : {"opa.platform", "opa.platform.svc", "opa.platform.svc.cluster.local",
                              "platform/opa.platform", "platform/opa.platform.svc.cluster.local"}) {
    CHECK(of(with_service(service)).at("opa").service == NamespacedName{"platform", "opa"});
  }
  for (const char* service :
       {"opa", "/opa.platform", "other/opa.platform", "opa.platform.", "opa.platform.pod",
        "opa.platform.svc.cluster.local.", ".platform", "opa..svc", "a/b/opa.platform", "*.platform"}) {
    CHECK(error_of(mesh(with_service(service))) ==
          std::string("spec.extensionProviders[0].envoyExtAuthzHttp.service: \"") + service +
              "\": must be name.namespace or name.namespace.svc.cluster.local, which the same namespace and / may "
              "precede");
  }
}

TEST_CASE("mesh: an extension provider that is wrong refuses the whole, by path and cause") {
  const std::pair<const char*, const char*> rows[] = {
      {"timeout: 0s", "timeout: \"0s\": must be at least 1ms"},
      {"failOpen: 1", "failOpen: 1: must be true or false"},
      {"statusOnError: 503", "statusOnError: 503: must be a string (put it in quotes)"},
      {"statusOnError: '399'", "statusOnError: \"399\": must be \"400\" to \"599\""},
      {"statusOnError: '600'", "statusOnError: \"600\": must be \"400\" to \"599\""},
      {"statusOnError: ''", "statusOnError: \"\": must be \"400\" to \"599\""},
      {"pathPrefix: ''", "pathPrefix: \"\": must not be empty"},
      {"pathPrefix: '/a#b'", "pathPrefix: \"/a#b\": must be a path that begins with /, without query and fragment"},
      {"pathPrefix: '/a b'", "pathPrefix: \"/a b\": must be a path that begins with /, without query and fragment"},
      {"includeHeadersInCheck: [a]", "includeHeadersInCheck: not supported: use includeRequestHeadersInCheck"},
      {"clearRouteCache: true", "clearRouteCache: not supported"},
      {"includeRequestHeadersInCheck: ['a*b']",
       "includeRequestHeadersInCheck[0]: \"a*b\": one wildcard (*) may stand, at one end"},
      {"headersToUpstreamOnAllow: ['a b']",
       "headersToUpstreamOnAllow[0]: \"a b\": not a name of a header, nor a part of one"},
      {"headersToDownstreamOnDeny: [':status']",
       "headersToDownstreamOnDeny[0]: \":status\": not a name of a header, nor a part of one"},
      {"headersToDownstreamOnAllow: a", "headersToDownstreamOnAllow: \"a\": must be a list"},
      {"includeAdditionalHeadersInCheck: {'a b': c}",
       "includeAdditionalHeadersInCheck[\"a b\"]: not a name of a header"},
      {"includeAdditionalHeadersInCheck: {Host: c}",
       "includeAdditionalHeadersInCheck.Host: HTTP itself needs this header"},
      {"includeAdditionalHeadersInCheck: {a: 5}",
       "includeAdditionalHeadersInCheck.a: 5: must be a string (put it in quotes)"},
      {"includeAdditionalHeadersInCheck: {a: null}", "includeAdditionalHeadersInCheck.a: missing"},
      {"includeAdditionalHeadersInCheck: {a: \"b\\nc\"}",
       "includeAdditionalHeadersInCheck.a: \"b\\nc\": has a control character"},
      {"includeAdditionalHeadersInCheck: {X-A: b, x-a: c}", "includeAdditionalHeadersInCheck[x-a]: listed twice"},
      {"includeRequestBodyInCheck: {}", "includeRequestBodyInCheck.maxRequestBytes: missing"},
      {"includeRequestBodyInCheck: {maxRequestBytes: 0}",
       "includeRequestBodyInCheck.maxRequestBytes: 0: must be 1 to 1048576"},
      {"includeRequestBodyInCheck: {maxRequestBytes: 1, packAsBytes: false}",
       "includeRequestBodyInCheck.packAsBytes: not supported"},
      {"includeRequestBodyInCheck: {maxRequestBytes: 1, more: 1}", "includeRequestBodyInCheck.more: unknown field"},
      {"grpc: true", "grpc: unknown field"},
  };
  for (const auto& [fields, message] : rows) {
    CAPTURE(fields);
    CHECK(error_of(mesh(opa(fields))) == std::string("spec.extensionProviders[0].envoyExtAuthzHttp.") + message);
  }
  const std::pair<const char*, const char*> lists[] = {
      {"{}", ": a mapping: must be a list"},
      {"[null]", "[0]: missing"},
      {"[{name: a}]", "[0].envoyExtAuthzHttp: missing"},
      {"[{envoyExtAuthzHttp: {service: a.b, port: 1}}]", "[0].name: missing"},
      {"[{name: a, envoyExtAuthzGrpc: {service: a.b, port: 1}}]",
       "[0].envoyExtAuthzGrpc: not supported: only envoyExtAuthzHttp is"},
      {"[{name: a, opentelemetry: {}}]", "[0].opentelemetry: not supported: only envoyExtAuthzHttp is"},
      {"[{name: a, somethingNew: {}}]", "[0].somethingNew: unknown field"},
      {"[{name: a, envoyExtAuthzHttp: {port: 1}}]", "[0].envoyExtAuthzHttp.service: missing"},
      {"[{name: a, envoyExtAuthzHttp: {service: a.b}}]", "[0].envoyExtAuthzHttp.port: missing"},
      {"[{name: a, envoyExtAuthzHttp: {service: a.b, port: 1}}, {name: a, envoyExtAuthzHttp: {service: a.b, port: 2}}]",
       "[1]: its name is another's too"},
  };
  for (const auto& [list, message] : lists) {
    CAPTURE(list);
    CHECK(error_of(mesh(std::string("extensionProviders: ") + list)) ==
          std::string("spec.extensionProviders") + message);
  }
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
