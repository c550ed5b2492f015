// SPDX-License-Identifier: Apache-2.0
// Every field of a Pod that Underpass reads, and every way in which one can be wrong.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <string>

#include "agent/k8s/decode.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

Decoded<model::Pod> decode(const std::string& yaml, bool netns_annotation = true) {
  const auto documents = parse_yaml(yaml);
  REQUIRE_MESSAGE(documents.has_value(), yaml);
  REQUIRE(documents->size() == 1);
  return decode_pod(documents->front().value, {.netns_annotation = netns_annotation, .tunnels_by_label = true});
}

// A pod "shop/web" with these fields beside its name.
std::string pod_with(const std::string& metadata, const std::string& rest) {
  return "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop" +
         (metadata.empty() ? "" : ", " + metadata) + "}" + (rest.empty() ? "" : ", " + rest) + "}";
}

model::Pod good(const std::string& metadata, const std::string& rest = "") {
  auto pod = decode(pod_with(metadata, rest));
  REQUIRE_MESSAGE(pod.has_value(), pod.error().path << ": " << pod.error().cause);
  return std::move(*pod);
}

std::string bad(const std::string& metadata, const std::string& rest = "") {
  const auto pod = decode(pod_with(metadata, rest));
  if (pod.has_value()) return "it decodes";
  return describe("Pod", {"shop", "web"}, pod.error()).message;
}

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

TEST_CASE("pod: everything there is") {
  const auto pod = decode(R"(
apiVersion: v1
kind: Pod
metadata:
  name: web-7d4b
  namespace: shop
  uid: 2f1c6a58-0000-4000-8000-000000000001
  creationTimestamp: 2026-01-02T03:04:05Z
  labels: {app: web, tier: "1", underpass.dev/mesh: enabled}
  annotations:
    underpass.dev/netns: /var/run/netns/web
    underpass.dev/short-circuit: on
    underpass.dev/short-circuit-peers: mesh
    underpass.dev/capture: always
    underpass.dev/weight: "50"
    underpass.dev/exclude-inbound-ports: "9090"
    underpass.dev/exclude-outbound-ports: 3306,53
    example.com/anything: 5
spec:
  nodeName: node-a
  serviceAccountName: web
  initContainers: [{name: setup, image: setup:1}]
  containers:
  - name: web
    image: web:1.2
    ports: [{containerPort: 80}]
    livenessProbe: {httpGet: {path: /live, port: 8081}}
  - {name: log}
  - {name: tap, image: tap@sha256:0}
status:
  phase: Running
  podIP: 10.0.0.7
  podIPs: [{ip: 10.0.0.7}, {ip: "fd00::7"}]
  conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "False"}]
  qosClass: 5
)");
  REQUIRE(pod.has_value());
  CHECK(*pod == model::Pod{
                    .id = {"shop", "web-7d4b"},
                    .uid = "2f1c6a58-0000-4000-8000-000000000001",
                    .cgroup_uid = "2f1c6a58-0000-4000-8000-000000000001",
                    .node_name = "node-a",
                    .service_account = "web",
                    .ips = {ip("10.0.0.7"), ip("fd00::7")},
                    .labels = {{"app", "web"}, {"tier", "1"}, {"underpass.dev/mesh", "enabled"}},
                    .owner = "Pod/web-7d4b",
                    .images = {"web:1.2", "tap@sha256:0"},
                    .settings = {.mesh = true,
                                 .short_circuit = model::ShortCircuit::kOn,
                                 .short_circuit_peers = model::ShortCircuitPeers::kMesh,
                                 .capture = model::Capture::kAlways},
                    .netns_path = "/var/run/netns/web",
                    .ready = false,
                    .ports = {{"", model::Protocol::kTcp, 80}},
                    .weight = 50,
                    .probe_ports = {8081},
                    .exclude_inbound_ports = {9090},
                    .exclude_outbound_ports = {53, 3306},
                });
}

TEST_CASE("pod: what is absent, null or empty has its default") {
  const model::Pod plain{.id = {"shop", "web"}, .owner = "Pod/web"};
  CHECK(good("") == plain);
  CHECK(good("labels: null, annotations: null, uid: null, ownerReferences: null", "spec: null, status: null") == plain);
  CHECK(good("",
             "spec: {nodeName: '', serviceAccountName: '', hostNetwork: false, containers: []}, "
             "status: {podIP: '', podIPs: [], phase: ''}") == plain);
}

TEST_CASE("pod: what it speaks to other nodes follows from labels in a folder, and is nothing where others tell it") {
  CHECK(good("").tunnel_by_label);
  const auto documents = parse_yaml(pod_with("", ""));
  REQUIRE(documents.has_value());
  CHECK(decode_pod(documents->front().value, {}).value().tunnel_by_label == false);
}

TEST_CASE("pod: addresses") {
  CHECK(good("", "status: {podIP: 10.0.0.7}").ips == std::vector{ip("10.0.0.7")});
  CHECK(good("", "status: {podIPs: [{ip: 'fd00::7'}, {ip: 10.0.0.7}]}").ips ==
        std::vector{ip("fd00::7"), ip("10.0.0.7")});
  CHECK(good("", "status: {podIP: 'fd00:0::7', podIPs: [{ip: 'fd00::7'}]}").ips == std::vector{ip("fd00::7")});
}

TEST_CASE("pod: who owns it") {
  const auto owner = [](const std::string& references, const std::string& labels = "{}") {
    return good("labels: " + labels + ", ownerReferences: " + references).owner;
  };
  CHECK(owner("[]") == "Pod/web");
  CHECK(owner("[{kind: StatefulSet, name: db, controller: true}]") == "StatefulSet/db");
  CHECK(owner("[{kind: Note, name: x}, {kind: Note, name: y, controller: false}]") == "Pod/web");
  CHECK(owner("[{kind: 5}, {kind: Job, name: one, controller: true}]") == "Job/one");

  const std::string hash = "{pod-template-hash: 7d4b}";
  const auto set_named = [](const std::string& name) {
    return "[{kind: ReplicaSet, name: " + name + ", controller: true}]";
  };
  CHECK(owner(set_named("web-7d4b"), hash) == "Deployment/web");
  CHECK(owner(set_named("a.b-c-7d4b"), hash) == "Deployment/a.b-c");
  CHECK(owner(set_named("web-7d4b")) == "ReplicaSet/web-7d4b");
  CHECK(owner(set_named("web-7d4b"), "{pod-template-hash: ''}") == "ReplicaSet/web-7d4b");
  CHECK(owner(set_named("web-8888"), hash) == "ReplicaSet/web-8888");
  CHECK(owner(set_named("web7d4b"), hash) == "ReplicaSet/web7d4b");
  CHECK(owner("[{kind: StatefulSet, name: web-7d4b, controller: true}]", hash) == "StatefulSet/web-7d4b");
}

TEST_CASE("pod: its images, in their order, without those of init containers") {
  const auto images = [](const std::string& spec) { return good("", "spec: {" + spec + "}").images; };
  CHECK(images("containers: [{image: b}, {image: a}]") == std::vector<std::string>{"b", "a"});
  CHECK(images("containers: [{name: x}, {image: ''}, {image: null}]").empty());
  CHECK(images("initContainers: [{image: i}], containers: [{image: a}]") == std::vector<std::string>{"a"});
}

TEST_CASE("pod: phases, host network, other meshes") {
  CHECK_FALSE(good("", "status: {phase: Pending}").terminated);
  CHECK(good("", "status: {phase: Succeeded}").terminated);
  CHECK(good("", "status: {phase: Failed}").terminated);
  CHECK(good("", "spec: {hostNetwork: true}").host_network);
  CHECK(good("", "spec: {containers: [{name: web}, {name: istio-proxy}]}").other_mesh);
  CHECK(good("", "spec: {initContainers: [{name: istio-proxy, restartPolicy: Always}]}").other_mesh);
  CHECK(good("annotations: {ambient.istio.io/redirection: enabled}").other_mesh);
  CHECK_FALSE(good("annotations: {ambient.istio.io/redirection: disabled}").other_mesh);
}

TEST_CASE("pod: what makes an endpoint of it") {
  CHECK(good("", "status: {conditions: [{type: Ready, status: 'True'}]}").ready);
  CHECK(good("", "status: {conditions: [{type: PodScheduled, status: 'False'}]}").ready);
  CHECK_FALSE(good("", "status: {conditions: [{type: Ready, status: Unknown}]}").ready);
  CHECK_FALSE(good("").deleting);
  CHECK(good("deletionTimestamp: 2026-01-02T03:04:05Z").deleting);
  const auto ports = good("",
                          "spec: {containers: [{ports: [{name: http, containerPort: 8080}, {protocol: SCTP}]}, {}, "
                          "{ports: [{name: dns, protocol: UDP, containerPort: 53}]}]}")
                         .ports;
  CHECK(ports ==
        std::vector<model::EndpointPort>{{"http", model::Protocol::kTcp, 8080}, {"dns", model::Protocol::kUdp, 53}});
}

TEST_CASE("pod: ports to which the kubelet connects") {
  using Ports = std::vector<std::uint16_t>;
  const auto ports = [](const std::string& container, const std::string& rest = "") {
    return good("", "spec: {containers: [{" + container + "}" + rest + "]}").probe_ports;
  };
  CHECK(ports("").empty());
  CHECK(ports("startupProbe: {httpGet: {port: 3}}, livenessProbe: {tcpSocket: {port: 2}}, "
              "readinessProbe: {grpc: {port: 1, service: a}}") == Ports{1, 2, 3});
  CHECK(ports("livenessProbe: {httpGet: {port: 80}}, readinessProbe: {httpGet: {port: 80}}",
              ", {livenessProbe: {tcpSocket: {port: 80}}}") == Ports{80});
  CHECK(
      ports("livenessProbe: {exec: {command: [a]}, periodSeconds: 5}, readinessProbe: null, startupProbe: {}").empty());
  CHECK(ports("lifecycle: {postStart: {httpGet: {port: 5}}, preStop: {tcpSocket: {port: 6}}}") == Ports{5, 6});
  CHECK(good("", "spec: {initContainers: [{restartPolicy: Always, startupProbe: {httpGet: {port: 7}}}]}").probe_ports ==
        Ports{7});

  // Names are those of the container itself.
  const std::string named = "ports: [{name: http, containerPort: 8080}, {containerPort: 1}], ";
  CHECK(ports(named + "livenessProbe: {httpGet: {port: http}}") == Ports{8080});
  CHECK(ports(named + "livenessProbe: {httpGet: {port: https}}").empty());
  CHECK(ports("livenessProbe: {httpGet: {port: http}}", ", {ports: [{name: http, containerPort: 1}]}").empty());
  CHECK(ports("livenessProbe: {httpGet: {port: ''}}, ports: [{containerPort: 1}]").empty());
  // Another host's.
  CHECK(ports("livenessProbe: {httpGet: {port: 80, host: 192.0.2.1}}, readinessProbe: {tcpSocket: {port: 81, host: a}}")
            .empty());
  CHECK(ports("livenessProbe: {httpGet: {port: 80, host: ''}}") == Ports{80});
}

TEST_CASE("pod: ports that it excludes") {
  using Ports = std::vector<std::uint16_t>;
  const auto pod = [](const std::string& in, const std::string& out) {
    return good("annotations: {underpass.dev/exclude-inbound-ports: '" + in +
                "', underpass.dev/exclude-outbound-ports: '" + out + "'}");
  };
  CHECK(pod("", "").exclude_inbound_ports.empty());
  CHECK(pod("80", "").exclude_inbound_ports == Ports{80});
  CHECK(pod("80", "").exclude_outbound_ports.empty());
  CHECK(pod("", "65535,1,80").exclude_outbound_ports == Ports{1, 80, 65535});
  CHECK(pod(" 80 , 443,80 ", "").exclude_inbound_ports == Ports{80, 443});
  for (const char* wrong :
       {"0", "65536", "80,", ",80", "80,,81", ",", " ", "http", "80 81", "80;81", "-1", "80-90", "*"}) {
    const auto message = std::string("\"") + wrong + "\": must be ports, 1 to 65535, with commas between them";
    CHECK(bad("annotations: {underpass.dev/exclude-inbound-ports: '" + std::string(wrong) + "'}") ==
          "Pod shop/web: metadata.annotations[underpass.dev/exclude-inbound-ports]: " + message);
    CHECK(bad("annotations: {underpass.dev/exclude-outbound-ports: '" + std::string(wrong) + "'}") ==
          "Pod shop/web: metadata.annotations[underpass.dev/exclude-outbound-ports]: " + message);
  }
  CHECK(bad("annotations: {underpass.dev/exclude-inbound-ports: 80}") ==
        "Pod shop/web: metadata.annotations[underpass.dev/exclude-inbound-ports]: 80: must be a string (put it in "
        "quotes)");
}

TEST_CASE("pod: the netns annotation counts for the folder source alone") {
  const auto text = pod_with("annotations: {underpass.dev/netns: /var/run/netns/web}", "");
  CHECK(decode(text, true)->netns_path == "/var/run/netns/web");
  CHECK(decode(text, false)->netns_path.empty());
  CHECK(decode(pod_with("annotations: {underpass.dev/netns: web}", ""), false).has_value());
}

TEST_CASE("pod: what is wrong is said by object, path and cause") {
  CHECK(bad("", "status: {podIP: 10.0.0}") == "Pod shop/web: status.podIP: \"10.0.0\": not an IP address");
  struct Row {
    const char* metadata;
    const char* rest;
    const char* message;  // behind "Pod shop/web: "
  };
  const Row rows[] = {
      {"", "status: {podIP: 5}", "status.podIP: 5: must be a string (put it in quotes)"},
      {"", "status: {podIP: [10.0.0.7]}", "status.podIP: a list: must be a string"},
      {"", "status: {podIP: 10.0.0.07}", "status.podIP: \"10.0.0.07\": not an IP address"},
      {"", "status: {podIP: 10.0.0.7/32}", "status.podIP: \"10.0.0.7/32\": not an IP address"},
      {"", "status: {podIP: \"10.0.0.7\\0\"}", "status.podIP: \"10.0.0.7\\u0000\": not an IP address"},
      {"", "status: {podIPs: [{ip: 10.0.0.7}, {ip: 'fd00::z'}]}",
       "status.podIPs[1].ip: \"fd00::z\": not an IP address"},
      {"", "status: {podIPs: [{ip: 10.0.0.7}, {ip: 10.0.0.7}]}", "status.podIPs[1].ip: \"10.0.0.7\": listed twice"},
      {"", "status: {podIPs: [10.0.0.7]}", "status.podIPs[0]: \"10.0.0.7\": must be a mapping"},
      {"", "status: {podIPs: [{}]}", "status.podIPs[0].ip: missing"},
      {"", "status: {podIPs: {ip: 10.0.0.7}}", "status.podIPs: a mapping: must be a list"},
      {"", "status: {podIP: 10.0.0.8, podIPs: [{ip: 10.0.0.7}]}",
       "status.podIPs[0].ip: \"10.0.0.7\": is not the address in status.podIP"},
      {"", "status: running", "status: \"running\": must be a mapping"},
      {"", "status: {phase: running}",
       "status.phase: \"running\": must be one of Pending, Running, Succeeded, Failed, Unknown"},
      {"", "status: {conditions: anything}", "status.conditions: \"anything\": must be a list"},
      {"", "status: {conditions: [{type: Ready, status: True}]}",
       "status.conditions[0].status: true: must be a string (put it in quotes)"},
      {"", "status: {conditions: [{type: Ready, status: Yes}]}",
       "status.conditions[0].status: \"Yes\": must be one of True, False, Unknown"},
      {"", "spec: {containers: [{ports: [{containerPort: 0}]}]}",
       "spec.containers[0].ports[0].containerPort: 0: must be 1 to 65535"},
      {"", "spec: {containers: [{ports: [{name: http}]}]}", "spec.containers[0].ports[0].containerPort: missing"},
      {"", "spec: {containers: [{ports: [{protocol: tcp, containerPort: 1}]}]}",
       "spec.containers[0].ports[0].protocol: \"tcp\": must be one of TCP, UDP"},
      {"", "spec: {containers: [{livenessProbe: {httpGet: {port: 0}}}]}",
       "spec.containers[0].livenessProbe.httpGet.port: 0: must be 1 to 65535"},
      {"", "spec: {containers: [{readinessProbe: {tcpSocket: {port: 65536}}}]}",
       "spec.containers[0].readinessProbe.tcpSocket.port: 65536: must be 1 to 65535"},
      {"", "spec: {containers: [{}, {startupProbe: {grpc: {}}}]}",
       "spec.containers[1].startupProbe.grpc.port: missing"},
      {"", "spec: {containers: [{livenessProbe: {httpGet: {port: a_b}}}]}",
       "spec.containers[0].livenessProbe.httpGet.port: \"a_b\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)"},
      {"", "spec: {containers: [{livenessProbe: [a]}]}", "spec.containers[0].livenessProbe: a list: must be a mapping"},
      {"", "spec: {containers: [{lifecycle: {preStop: {httpGet: {port: true}}}}]}",
       "spec.containers[0].lifecycle.preStop.httpGet.port: true: must be a whole number"},
      {"deletionTimestamp: 5", "", "metadata.deletionTimestamp: 5: must be a string (put it in quotes)"},
      {"annotations: {underpass.dev/weight: '0'}", "",
       "metadata.annotations[underpass.dev/weight]: \"0\": must be 1 to 100"},
      {"annotations: {underpass.dev/weight: 5}", "",
       "metadata.annotations[underpass.dev/weight]: 5: must be a string (put it in quotes)"},
      {"", "spec: {hostNetwork: 'true'}", "spec.hostNetwork: \"true\": must be true or false"},
      {"", "spec: {nodeName: Node_A}",
       "spec.nodeName: \"Node_A\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)"},
      {"", "spec: {serviceAccountName: a/b}",
       "spec.serviceAccountName: \"a/b\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)"},
      {"", "spec: {containers: web}", "spec.containers: \"web\": must be a list"},
      {"", "spec: {containers: [{name: 1}]}", "spec.containers[0].name: 1: must be a string (put it in quotes)"},
      {"", "spec: {containers: [{image: 1}]}", "spec.containers[0].image: 1: must be a string (put it in quotes)"},
      {"ownerReferences: web", "", "metadata.ownerReferences: \"web\": must be a list"},
      {"ownerReferences: [web]", "", "metadata.ownerReferences[0]: \"web\": must be a mapping"},
      {"ownerReferences: [{controller: 'yes'}]", "",
       "metadata.ownerReferences[0].controller: \"yes\": must be true or false"},
      {"ownerReferences: [{controller: true, name: web}]", "", "metadata.ownerReferences[0].kind: missing"},
      {"ownerReferences: [{controller: true, kind: 5, name: web}]", "",
       "metadata.ownerReferences[0].kind: 5: must be a string (put it in quotes)"},
      {"ownerReferences: [{controller: true, kind: a/b, name: web}]", "",
       "metadata.ownerReferences[0].kind: \"a/b\": not a kind (letters and digits)"},
      {"ownerReferences: [{}, {controller: true, kind: Job}]", "", "metadata.ownerReferences[1].name: missing"},
      {"ownerReferences: [{controller: true, kind: Job, name: A}]", "",
       "metadata.ownerReferences[0].name: \"A\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)"},
      {"ownerReferences: [{controller: true, kind: Job, name: a}, {controller: true, kind: Job, name: b}]", "",
       "metadata.ownerReferences[1].controller: true: there is another controller already"},
      {"uid: 5", "", "metadata.uid: 5: must be a string (put it in quotes)"},
      {"labels: [a]", "", "metadata.labels: a list: must be a mapping"},
      {"labels: {app: true}", "", "metadata.labels.app: true: must be a string (put it in quotes)"},
      {"labels: {underpass.dev/mesh: true}", "",
       "metadata.labels[underpass.dev/mesh]: true: must be a string (put it in quotes)"},
      {"labels: {underpass.dev/mesh: on}", "",
       "metadata.labels[underpass.dev/mesh]: \"on\": must be one of enabled, disabled"},
      {"labels: {underpass.dev/mesh: ''}", "",
       "metadata.labels[underpass.dev/mesh]: \"\": must be one of enabled, disabled"},
      {"annotations: {underpass.dev/short-circuit: true}", "",
       "metadata.annotations[underpass.dev/short-circuit]: true: must be a string (put it in quotes)"},
      {"annotations: {underpass.dev/short-circuit: On}", "",
       "metadata.annotations[underpass.dev/short-circuit]: \"On\": must be one of auto, on, off"},
      {"annotations: {underpass.dev/short-circuit-peers: all}", "",
       "metadata.annotations[underpass.dev/short-circuit-peers]: \"all\": must be one of namespace, mesh"},
      {"annotations: {underpass.dev/capture: never}", "",
       "metadata.annotations[underpass.dev/capture]: \"never\": must be one of auto, always"},
      {"annotations: {underpass.dev/local-mtls: always}", "",
       "metadata.annotations[underpass.dev/local-mtls]: \"always\": must be one of auto, required"},
      {"annotations: {underpass.dev/capture: true}", "",
       "metadata.annotations[underpass.dev/capture]: true: must be a string (put it in quotes)"},
      {"annotations: {underpass.dev/netns: web}", "",
       "metadata.annotations[underpass.dev/netns]: \"web\": must be an absolute path, for example /var/run/netns/web"},
      {"annotations: {underpass.dev/netns: ''}", "",
       "metadata.annotations[underpass.dev/netns]: \"\": must be an absolute path, for example /var/run/netns/web"},
      {"annotations: {underpass.dev/netns: \"/a\\nb\"}", "",
       "metadata.annotations[underpass.dev/netns]: \"/a\\nb\": must be an absolute path, for example "
       "/var/run/netns/web"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.message);
    CHECK(bad(row.metadata, row.rest) == std::string("Pod shop/web: ") + row.message);
  }
}

TEST_CASE("pod: a value in a message is short and on one line") {
  const auto message = bad("", "status: {podIP: \"" + std::string(5000, 'x') + "\\n\"}");
  CHECK(message.size() < 200);
  CHECK_FALSE(message.contains('\n'));
}

TEST_CASE("pod: the same decoder takes the API server's JSON") {
  const auto pod = decode_pod(boost::json::parse(R"({"metadata": {"name": "web", "namespace": "shop",
      "annotations": {"underpass.dev/netns": "/proc/1/ns/net"}}, "status": {"podIP": "10.0.0.7"}})"),
                              {});
  REQUIRE(pod.has_value());
  CHECK(pod->ips == std::vector{ip("10.0.0.7")});
  CHECK(pod->netns_path.empty());
}

}  // namespace
}  // namespace underpass::k8s
