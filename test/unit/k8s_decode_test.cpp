// SPDX-License-Identifier: Apache-2.0
// Objects to model values: which objects are ours, names, lists, and the settings that Namespace and Pod share.
#include <doctest/doctest.h>

#include <string>
#include <variant>

#include "agent/k8s/folder.h"

namespace underpass::k8s {
namespace {

// What a text holds, one line each: "Pod shop/web", an object's error, or "unreadable place: cause".
std::string decode(const std::string& text) {
  const auto file = decode_file("a.yaml", text, {.netns_annotation = true});
  std::string out;
  for (const auto& item : file.items) {
    out += item.object ? object_name(item.kind, item.id) : describe(item.kind, item.id, item.object.error()).message;
    out += "\n";
  }
  for (const auto& problem : file.unreadable) out += "unreadable " + problem.place + ": " + problem.cause + "\n";
  return out;
}

model::MeshSettings settings_of(const std::string& metadata) {
  const auto file =
      decode_file("a.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop, " + metadata + "}}", {});
  REQUIRE(file.items.size() == 1);
  REQUIRE(file.items[0].object.has_value());
  return std::get<model::Namespace>(*file.items[0].object).settings;
}

TEST_CASE("decode: which objects are ours") {
  struct Row {
    const char* text;
    const char* result;
  };
  const Row rows[] = {
      {"{apiVersion: v1, kind: Namespace, metadata: {name: shop}}", "Namespace shop\n"},
      {"{apiVersion: v1, kind: Namespace, metadata: {name: shop, namespace: ignored}}", "Namespace shop\n"},
      {"{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}", "ServiceAccount shop/web\n"},
      {"{apiVersion: v1, kind: Pod, metadata: {name: web}}", "Pod default/web\n"},
      {"{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: null}}", "Pod default/web\n"},
      {"{apiVersion: v1, kind: Pod, metadata: {name: web.with.dots, namespace: shop}}", "Pod shop/web.with.dots\n"},
      {"{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}", "Service shop/web\n"},
      {"{apiVersion: v1, kind: Node, metadata: {name: node-a.example.com}}", "Node node-a.example.com\n"},
      {"{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x.y}, addressType: IPv4}",
       "EndpointSlice default/web-x.y\n"},
      {"{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: x, namespace: shop}}",
       "AuthorizationPolicy shop/x\n"},
      {"{apiVersion: security.istio.io/v1beta1, kind: AuthorizationPolicy, metadata: {name: x.y}}",
       "AuthorizationPolicy default/x.y\n"},
      {"{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: x, namespace: shop}}",
       "PeerAuthentication shop/x\n"},
      {"{apiVersion: security.istio.io/v1beta1, kind: PeerAuthentication, metadata: {name: x}}",
       "PeerAuthentication default/x\n"},
      {"{apiVersion: underpass.dev/v1alpha1, kind: Mesh, metadata: {name: default}}", "Mesh default\n"},
      {"{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: x}, spec: {rule: []}}",
       "AuthorizationPolicy default/x: spec.rule: unknown field\n"},
      {"{apiVersion: security.istio.io/v1beta1, kind: RequestAuthentication, metadata: {name: x, namespace: shop}}",
       "RequestAuthentication shop/x\n"},
      {"{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: x}, spec: {mode: STRICT}}",
       "PeerAuthentication default/x: spec.mode: unknown field\n"},
      {"{apiVersion: underpass.dev/v1alpha1, kind: Mesh, metadata: {name: x}}",
       "Mesh x: metadata.name: \"x\": must be \"default\": there is one Mesh\n"},
      // Not ours, or not yet.
      {"{apiVersion: serving.knative.dev/v1, kind: Service, metadata: 5}", ""},
      {"{apiVersion: example.com/v1, kind: EndpointSlice, metadata: 5}", ""},
      {"{apiVersion: discovery.k8s.io/v1, kind: Other, metadata: 5}", ""},
      {"{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}", ""},
      {"{apiVersion: apps/v1, kind: Deployment}", ""},
      {"{apiVersion: example.com/v1, kind: Pod, metadata: 5}", ""},
      {"{apiVersion: example.com/v1, kind: AuthorizationPolicy, metadata: {name: x}}", ""},
      {"{apiVersion: kuma.io/v1alpha1, kind: Mesh, metadata: {name: x}}", ""},
      {"{apiVersion: example.com/v1, kind: PodList, items: 5}", ""},
      {"---\n---\n# nothing\n", ""},
      // Not Kubernetes, or too broken to say which object it is.
      {"hello", "unreadable a.yaml:1: \"hello\": must be a mapping\n"},
      {"\n\n[1]", "unreadable a.yaml:3: a list: must be a mapping\n"},
      {"{}", "unreadable a.yaml:1: kind: missing: not a Kubernetes object\n"},
      {"{kind: Pod}", "unreadable a.yaml:1: apiVersion: missing: not a Kubernetes object\n"},
      {"{kind: 5, apiVersion: v1}", "unreadable a.yaml:1: kind: 5: must be a string (put it in quotes)\n"},
      {"{kind: Pod, apiVersion: v2}", "unreadable a.yaml:1: Pod: apiVersion: \"v2\": must be \"v1\"\n"},
      {"{kind: EndpointSlice, apiVersion: v1}",
       "unreadable a.yaml:1: EndpointSlice: apiVersion: \"v1\": must be \"discovery.k8s.io/v1\"\n"},
      {"{kind: EndpointSliceList, apiVersion: discovery.k8s.io/v1beta1}",
       "unreadable a.yaml:1: EndpointSliceList: apiVersion: \"discovery.k8s.io/v1beta1\": must be "
       "\"discovery.k8s.io/v1\"\n"},
      {"{kind: AuthorizationPolicy, apiVersion: security.istio.io/v2}",
       "unreadable a.yaml:1: AuthorizationPolicy: apiVersion: \"security.istio.io/v2\": must be "
       "\"security.istio.io/v1\" or \"security.istio.io/v1beta1\"\n"},
      {"{kind: Mesh, apiVersion: ''}",
       "unreadable a.yaml:1: Mesh: apiVersion: \"\": must be \"underpass.dev/v1alpha1\"\n"},
      {"{kind: Service, apiVersion: v1, metadata: {name: a.b}}",
       "unreadable a.yaml:1: Service: metadata.name: \"a.b\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)\n"},
      {"{kind: Node, apiVersion: v1, metadata: {name: Node}}",
       "unreadable a.yaml:1: Node: metadata.name: \"Node\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most "
       "253)\n"},
      {"{kind: Pod, apiVersion: v1}", "unreadable a.yaml:1: Pod: metadata.name: missing\n"},
      {"{kind: Pod, apiVersion: v1, metadata: []}", "unreadable a.yaml:1: Pod: metadata: a list: must be a mapping\n"},
      {"{kind: Pod, apiVersion: v1, metadata: {name: 7}}",
       "unreadable a.yaml:1: Pod: metadata.name: 7: must be a string (put it in quotes)\n"},
      {"{kind: Pod, apiVersion: v1, metadata: {name: a/b}}",
       "unreadable a.yaml:1: Pod: metadata.name: \"a/b\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most "
       "253)\n"},
      {"{kind: Pod, apiVersion: v1, metadata: {name: ok, namespace: Shop}}",
       "unreadable a.yaml:1: Pod: metadata.namespace: \"Shop\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)\n"},
      {"{kind: Namespace, apiVersion: v1, metadata: {name: a.b}}",
       "unreadable a.yaml:1: Namespace: metadata.name: \"a.b\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)\n"},
      {"kind: Pod\nkind: Pod\n", "unreadable a.yaml:2: duplicate key \"kind\"\n"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(decode(row.text) == row.result);
  }
}

TEST_CASE("decode: names are RFC 1123") {
  const auto decodes = [](const std::string& kind, const std::string& name) {
    return decode_file("a.yaml", "{apiVersion: v1, kind: " + kind + ", metadata: {name: \"" + name + "\"}}", {})
        .unreadable.empty();
  };
  const std::string longest_label(63, 'a');
  const std::string longest_name =
      longest_label + "." + longest_label + "." + longest_label + "." + std::string(61, 'a');
  CHECK(decodes("Namespace", longest_label));
  CHECK_FALSE(decodes("Namespace", longest_label + "a"));
  CHECK(longest_name.size() == 253);
  CHECK(decodes("Pod", longest_name));
  CHECK_FALSE(decodes("Pod", longest_name + "a"));
  for (const char* good : {"a", "0", "a-b", "a.b", "0.0"}) CHECK(decodes("Pod", good));
  for (const char* bad : {"", "-a", "a-", "A", "a_b", ".a", "a.", "a..b", "a.-b", "a b", "\xc3\xa4", "a\\0"}) {
    CAPTURE(bad);
    CHECK_FALSE(decodes("Pod", bad));
  }
}

TEST_CASE("decode: lists are taken apart") {
  CHECK(decode("apiVersion: v1\nkind: List\nitems:\n"
               "- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n"
               "- {apiVersion: apps/v1, kind: Deployment}\n"
               "- {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}}\n") ==
        "Namespace shop\nPod shop/web\n");
  CHECK(decode("{apiVersion: v1, kind: PodList, items: [{metadata: {name: a}}, {metadata: {name: b}}]}") ==
        "Pod default/a\nPod default/b\n");
  CHECK(decode("{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a}}]}") == "Namespace a\n");
  CHECK(decode("{apiVersion: v1, kind: ServiceList, items: [{metadata: {name: a}}]}") == "Service default/a\n");
  CHECK(decode("{apiVersion: v1, kind: NodeList, items: [{metadata: {name: a.b}}]}") == "Node a.b\n");
  CHECK(decode("{apiVersion: discovery.k8s.io/v1, kind: EndpointSliceList, items: [{metadata: {name: a}, "
               "addressType: IPv6}]}") == "EndpointSlice default/a\n");
  CHECK(decode("{apiVersion: v1, kind: List, items: [{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, "
               "metadata: {name: a}, addressType: IPv6}]}") == "EndpointSlice default/a\n");
  CHECK(decode("{apiVersion: security.istio.io/v1beta1, kind: AuthorizationPolicyList, items: [{metadata: {name: a}}, "
               "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: b}}]}") ==
        "AuthorizationPolicy default/a\nAuthorizationPolicy default/b\n");
  CHECK(decode("{apiVersion: security.istio.io/v1, kind: PeerAuthenticationList, items: [{metadata: {name: a}}]}") ==
        "PeerAuthentication default/a\n");
  CHECK(decode("{apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: a}}]}") == "");
  CHECK(decode("{apiVersion: v1, kind: List}") == "");
  CHECK(decode("{apiVersion: v1, kind: List, items: {}}") ==
        "unreadable a.yaml:1: List: items: a mapping: must be a list\n");
  CHECK(decode("{apiVersion: v1, kind: List, items: [5, {metadata: {name: a}}]}") ==
        "unreadable a.yaml:1 items[0]: 5: must be a mapping\n"
        "unreadable a.yaml:1 items[1]: kind: missing: not a Kubernetes object\n");
  CHECK(decode("{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List, items: []}]}") ==
        "unreadable a.yaml:1 items[0]: List: a list inside a list\n");
}

TEST_CASE("decode: one bad object leaves its neighbours alone") {
  CHECK(decode("{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {underpass.dev/mesh: maybe}}}\n---\n"
               "{apiVersion: v1, kind: Namespace, metadata: {name: b}}\n") ==
        "Namespace a: metadata.labels[underpass.dev/mesh]: \"maybe\": must be one of enabled, disabled\nNamespace b\n");
}

TEST_CASE("decode: mesh settings") {
  using model::ShortCircuit;
  using model::ShortCircuitPeers;
  CHECK(settings_of("labels: {}") == model::MeshSettings{});
  CHECK(settings_of("labels: {underpass.dev/mesh: enabled}").mesh == true);
  CHECK(settings_of("labels: {underpass.dev/mesh: disabled}").mesh == false);
  CHECK(settings_of("annotations: {underpass.dev/short-circuit: on}").short_circuit == ShortCircuit::kOn);
  CHECK(settings_of("annotations: {underpass.dev/short-circuit: auto}").short_circuit == ShortCircuit::kAuto);
  CHECK(settings_of("annotations: {underpass.dev/short-circuit: off}").short_circuit == ShortCircuit::kOff);
  CHECK(settings_of("annotations: {underpass.dev/short-circuit-peers: mesh}").short_circuit_peers ==
        ShortCircuitPeers::kMesh);
  CHECK(settings_of("annotations: {underpass.dev/short-circuit-peers: namespace}").short_circuit_peers ==
        ShortCircuitPeers::kNamespace);
  CHECK(settings_of("annotations: {underpass.dev/capture: always}").capture == model::Capture::kAlways);
  CHECK(settings_of("annotations: {underpass.dev/capture: auto}").capture == model::Capture::kAuto);
  CHECK(settings_of("annotations: {underpass.dev/local-mtls: required}").local_mtls == model::LocalMtls::kRequired);
  CHECK(settings_of("annotations: {underpass.dev/local-mtls: auto}").local_mtls == model::LocalMtls::kAuto);
  // A label where an annotation belongs, and the other way round, are somebody else's.
  CHECK(settings_of("annotations: {underpass.dev/mesh: enabled}, labels: {underpass.dev/short-circuit: on}") ==
        model::MeshSettings{});
}

}  // namespace
}  // namespace underpass::k8s
