// SPDX-License-Identifier: Apache-2.0
// Explanations: names and addresses to Services, verdicts, ways and their reasons.
#include "agent/admin/explain.h"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

using namespace underpass;
using admin::ErrorCode;
using compile::PodStatus;
using model::ShortCircuit;
namespace json = boost::json;

namespace {

std::string compact(std::string_view golden) { return json::serialize(json::parse(golden)); }

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

PodStatus pod(const char* ns, const char* name, const char* address, ShortCircuit mode = ShortCircuit::kOn) {
  return {.id = {ns, name},
          .ips = {ip(address)},
          .netns_cookie = 1,
          .enrolled = true,
          .short_circuit = mode,
          .short_circuit_reason = "annotation on Pod"};
}

class Mesh {
 public:
  Mesh() {
    add("web", 80, "10.96.0.1", {{.ip = ip("10.0.0.2"), .port = 8080}});
    add("empty", 80, "10.96.0.2", {});
    add("mixed", 80, "10.96.0.3", {{.ip = ip("10.0.0.2"), .port = 80}, {.ip = ip("10.1.0.9"), .port = 80}});
    add("far", 80, "10.96.0.4", {{.ip = ip("10.1.0.8"), .port = 80}, {.ip = ip("10.1.0.9"), .port = 80}});
    add("own", 80, "10.96.0.5", {{.ip = ip("10.0.0.1"), .port = 80}, {.ip = ip("10.0.0.2"), .port = 80}});
    services_.emplace(
        compile::PortKey{.service = {"shop", "web"}, .protocol = model::Protocol::kTcp, .port = 80, .v6 = true},
        compile::PortTable{.frontends = {{.ip = ip("fd00::1"), .port = 80}},
                           .backends = {{.ip = ip("fd00::2"), .port = 8080}}});
    services_.emplace(
        compile::PortKey{.service = {"shop", "dns"}, .protocol = model::Protocol::kUdp, .port = 53},
        compile::PortTable{.frontends = {{.ip = ip("10.96.0.10"), .port = 53, .protocol = model::Protocol::kUdp}},
                           .backends = {{.ip = ip("10.0.0.2"), .port = 53}}});
    conflicts_.push_back({.kind = "Service",
                          .id = {"shop", "late"},
                          .path = "spec.clusterIPs",
                          .cause = "10.96.0.1:80/TCP is already that of Service shop/web",
                          .since = ""});
  }

  admin::Answer ask(const char* from, const char* to, const char* protocol = "tcp") const {
    const auto request = admin::decode_explain({{"from", from}, {"to", to}, {"protocol", protocol}});
    if (!request) return std::unexpected(request.error());
    return admin::explain(
        *request, {.pods = pods_, .services = services_, .node_addresses = node_addresses_, .conflicts = conflicts_});
  }
  json::object answer(const char* to, const char* protocol = "tcp", const char* from = "shop/client") const {
    return ask(from, to, protocol).value().as_object();
  }
  std::string reason(const char* to, const char* from = "shop/client") const {
    return std::string(answer(to, "tcp", from).at("reason").as_string());
  }
  std::string refusal(const char* from, const char* to, ErrorCode code) const {
    const auto refused = ask(from, to);
    REQUIRE(!refused);
    CHECK(refused.error().code == code);
    return refused.error().message;
  }
  PodStatus& server() { return pods_[1]; }

 private:
  void add(const char* name, std::uint16_t port, const char* address, std::vector<compile::Backend> backends) {
    std::vector<compile::Frontend> frontends{{.ip = ip(address), .port = port}};
    if (std::string(name) == "web") frontends.insert(frontends.begin(), {.ip = ip("0.0.0.0"), .port = 30080});
    services_.emplace(compile::PortKey{.service = {"shop", name}, .port = port},
                      compile::PortTable{.frontends = std::move(frontends), .backends = std::move(backends)});
  }

  std::vector<PodStatus> pods_{pod("shop", "client", "10.0.0.1"),
                               pod("shop", "server", "10.0.0.2"),
                               pod("bank", "teller", "10.0.0.3"),
                               pod("shop", "learner", "10.0.0.4", ShortCircuit::kAuto),
                               pod("shop", "plain", "10.0.0.5", ShortCircuit::kOff),
                               {.id = {"shop", "out"}, .ips = {ip("10.0.0.6")}, .reason = "no label"},
                               pod("shop", "six", "fd00::6")};
  compile::PortTables services_;
  std::vector<IpAddress> node_addresses_{ip("192.168.0.1")};
  std::vector<model::Diagnostic> conflicts_;
};

}  // namespace

TEST_CASE("explain: all fields") {
  const Mesh mesh;
  CHECK(json::serialize(mesh.answer("web:80")) == compact(R"({"verdict": "allow", "way": "short-circuit",
    "reason": "Service shop/web:80: Pod shop/client and Pod shop/server are enrolled on this node with short-circuit on; Service shop/late claims that address too and is refused",
    "decidedBy": {"kind": "Service", "namespace": "shop", "name": "web", "rule": null}, "service": "shop/web:80",
    "dialled": "10.96.0.1:80", "backends": ["10.0.0.2:8080"]})"));
  CHECK(json::serialize(mesh.answer("10.0.0.2:9000")) == compact(R"({"verdict": "allow", "way": "short-circuit",
    "reason": "Pod shop/client and Pod shop/server are enrolled on this node with short-circuit on",
    "decidedBy": null, "service": null, "dialled": "10.0.0.2:9000", "backends": []})"));
}

TEST_CASE("explain: a Service without a ready endpoint refuses") {
  const Mesh mesh;
  CHECK(json::serialize(mesh.answer("empty:80")) == compact(R"({"verdict": "deny", "way": "direct",
    "reason": "Service shop/empty:80 has no endpoint that is ready: connect() is refused",
    "decidedBy": {"kind": "Service", "namespace": "shop", "name": "empty", "rule": null}, "service": "shop/empty:80",
    "dialled": "10.96.0.2:80", "backends": []})"));
}

TEST_CASE("explain: the ways to name a Service") {
  const Mesh mesh;
  for (const char* to : {"web:80", "WEB:80", "web.shop:80", "web.shop.svc:80", "web.shop.svc.cluster.local:80",
                         "web.shop.svc.cluster.local.:80", "10.96.0.1:80", "192.168.0.1:30080"}) {
    CAPTURE(to);
    CHECK(mesh.answer(to).at("service") == "shop/web:80");
  }
  CHECK(mesh.answer("[fd00::1]:80").at("service") == "shop/web:80");
  CHECK(mesh.answer("192.168.0.1:30080").at("dialled") == "192.168.0.1:30080");
  CHECK(mesh.answer("web.shop:80", "tcp", "bank/teller").at("service") == "shop/web:80");
  // In the family of the pod that dials.
  CHECK(mesh.answer("web:80").at("dialled") == "10.96.0.1:80");
  CHECK(mesh.answer("web:80", "tcp", "shop/six").at("dialled") == "[fd00::1]:80");
  CHECK(mesh.answer("mixed:80", "tcp", "shop/six").at("dialled") == "10.96.0.3:80");
}

TEST_CASE("explain: what does not exist") {
  const Mesh mesh;
  CHECK(mesh.refusal("shop/nobody", "web:80", ErrorCode::kNotFound) == "Pod shop/nobody: not found on this node");
  CHECK(mesh.refusal("bank/teller", "web:80", ErrorCode::kNotFound).starts_with("Service bank/web: not found"));
  CHECK(mesh.refusal("shop/client", "late:80", ErrorCode::kNotFound) ==
        "Service shop/late has no port 80/TCP in force: spec.clusterIPs: 10.96.0.1:80/TCP is already that of Service "
        "shop/web");
  CHECK(mesh.refusal("shop/client", "web:81", ErrorCode::kNotFound) ==
        "Service shop/web has no port 81/TCP in force (it has 80/TCP)");
  CHECK(mesh.refusal("shop/client", "dns:53", ErrorCode::kNotFound) ==
        "Service shop/dns has no port 53/TCP in force (it has 53/UDP)");
  for (const char* name : {"www.example.org:80", "web.shop.svc.other.local:80", "web.shop.pod:80"})
    CHECK(mesh.refusal("shop/client", name, ErrorCode::kNotFound).contains("is not the name of a Service"));
}

TEST_CASE("explain: what is malformed") {
  const Mesh mesh;
  for (const char* from : {"", "web", "/web", "shop/", "shop/web/x"}) {
    CAPTURE(from);
    CHECK(mesh.refusal(from, "web:80", ErrorCode::kUsage).starts_with("from: "));
  }
  for (const char* to :
       {"", "web", "web:", ":80", "web:0", "web:65536", "web:-1", "web:80x", "fd00::1:80", "[web]:80", "[10.0.0.1]:80",
        "10.0.0:80", "10.0.0.256:80", "we b:80", "web..shop:80", ".web:80", "[fd00::x]:80", "web/x:80"}) {
    CAPTURE(to);
    CHECK(mesh.refusal("shop/client", to, ErrorCode::kUsage).starts_with("to: "));
  }
  CHECK(mesh.ask("shop/client", "web:80", "sctp").error() ==
        admin::CommandError{ErrorCode::kUsage, "protocol: neither tcp nor udp"});
  CHECK(admin::decode_explain({{"from", 1}, {"to", "web:80"}}).error().code == ErrorCode::kUsage);
  const auto plain = admin::decode_explain({{"from", "a/b"}, {"to", "[fd00::1]:80"}, {"method", "GET"}});
  CHECK(plain.value() == admin::ExplainRequest{.from = {"a", "b"}, .to = {.host = "fd00::1", .port = 80}});
}

TEST_CASE("explain: why a connection is not short-circuited") {
  Mesh mesh;
  CHECK(mesh.reason("10.1.0.8:80") == "10.1.0.8 is no enrolled pod of this node");
  CHECK(mesh.reason("10.0.0.6:80") == "10.0.0.6 is no enrolled pod of this node");
  CHECK(mesh.reason("10.0.0.4:80") == "Pod shop/learner is still learned");
  CHECK(mesh.reason("10.0.0.5:80") == "Pod shop/plain has short-circuit off (annotation on Pod)");
  CHECK(mesh.reason("10.0.0.2:80", "shop/plain") == "Pod shop/plain has short-circuit off (annotation on Pod)");
  CHECK(mesh.reason("10.0.0.3:80") ==
        "namespaces shop and bank differ, and Pod shop/client does not say short-circuit-peers: mesh");
  CHECK(mesh.answer("10.0.0.3:80").at("way") == "direct");
  CHECK(mesh.reason("10.0.0.2:80", "shop/out") ==
        "Pod shop/out is not enrolled (no label): its connections are as without Underpass");
  CHECK(mesh.answer("empty:80", "tcp", "shop/out").at("verdict") == "allow");

  CHECK(mesh.answer("mixed:80").at("way") == "direct");
  CHECK(mesh.reason("mixed:80") ==
        "Service shop/mixed:80: 10.1.0.9 is no enrolled pod of this node; 1 of 2 backends would be short-circuited");
  CHECK(mesh.reason("far:80") ==
        "Service shop/far:80: 10.1.0.8 is no enrolled pod of this node (and likewise of all 2 backends)");
  CHECK(mesh.answer("own:80").at("way") == "short-circuit");
  mesh.server().short_circuit = ShortCircuit::kAuto;
  CHECK(mesh.answer("web:80").at("way") == "direct");
}

TEST_CASE("explain: UDP, and ports that a Service does not have") {
  const Mesh mesh;
  const json::object dns = mesh.answer("dns:53", "udp");
  CHECK(dns.at("way") == "direct");
  CHECK(dns.at("reason") == "Service shop/dns:53: UDP is never short-circuited");
  CHECK(dns.at("backends").at(0) == "10.0.0.2:53");
  const json::object wrong = mesh.answer("10.96.0.1:81");
  CHECK(wrong.at("service") == nullptr);
  CHECK(wrong.at("reason") ==
        "10.96.0.1:81/TCP is no port of Service shop/web, whose address that is: it is dialled as it stands");
  CHECK(mesh.answer("192.168.0.2:30080").at("service") == nullptr);
}
