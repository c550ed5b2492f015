// SPDX-License-Identifier: Apache-2.0
// Explanations: names and addresses to Services, verdicts, ways and their reasons.
#include "agent/admin/explain.h"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <memory>
#include <set>

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
          .identity = std::string("spiffe://cluster.local/ns/") + ns + "/sa/" + name,
          .account = {ns, name},
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
    return admin::explain(*request, {.pods = pods_,
                                     .services = services_,
                                     .node_addresses = node_addresses_,
                                     .conflicts = conflicts_,
                                     .excluded = excluded,
                                     .workers = workers,
                                     .policy_of =
                                         [this](const PodStatus& pod) {
                                           const auto found = policies.find(pod.id);
                                           return found == policies.end() ? nullptr : found->second;
                                         },
                                     .remotes = &remotes});
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
  PodStatus& client() { return pods_[0]; }
  PodStatus& server() { return pods_[1]; }

  std::map<NamespacedName, std::shared_ptr<const compile::PolicySet>> policies;  // by pod
  std::set<compile::ExcludedPort> excluded;
  std::set<NetnsCookie> workers{1};  // all pods of this node
  compile::Remotes remotes;

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
  const auto plain = admin::decode_explain({{"from", "a/b"}, {"to", "[fd00::1]:80"}});
  CHECK(plain.value() == admin::ExplainRequest{.from = {"a", "b"}, .to = {.host = "fd00::1", .port = 80}});
  const auto request = admin::decode_explain(
      {{"from", "a/b"}, {"to", "c:80"}, {"path", "/x?y"}, {"headers", {"X-Id: 1 ", "Host:shop.example"}}});
  CHECK(request.value().request ==
        admin::RequestQuestion{.method = "GET", .path = "/x?y", .headers = {{"x-id", "1"}, {"host", "shop.example"}}});
  for (const auto& odd :
       {boost::json::object{{"path", "x"}}, {{"method", ""}}, {{"headers", {"nonsense"}}}, {{"headers", 1}}}) {
    boost::json::object asked{{"from", "a/b"}, {"to", "c:80"}};
    for (const auto& member : odd) asked.insert(member);
    CHECK(admin::decode_explain(asked).error().code == ErrorCode::kUsage);
  }
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

TEST_CASE("explain: a client that is captured dials through its worker, whatever it dials") {
  Mesh mesh;
  mesh.client().capture = true;
  mesh.client().capture_reason = "annotation on Namespace";
  const std::string who = "Pod shop/client: underpass.dev/capture: always on Namespace";
  for (const char* to : {"10.0.0.2:9000", "10.1.0.8:80", "10.0.0.6:80", "[fd00::99]:80"}) {
    CAPTURE(to);
    CHECK(mesh.answer(to).at("way") == "proxied");
    CHECK(mesh.answer(to).at("verdict") == "allow");
    CHECK(mesh.reason(to) == who);
  }
  CHECK(mesh.answer("web:80").at("way") == "proxied");
  CHECK(mesh.answer("web:80").at("decidedBy").at("name") == "web");
  CHECK(mesh.reason("far:80") == "Service shop/far:80: " + who + " (and likewise of all 2 backends)");
  CHECK(mesh.reason("10.96.0.4:81").ends_with("it is dialled as it stands; " + who));
  // Not what stays inside the pod, datagrams, and ports that it excludes.
  CHECK(mesh.answer("10.0.0.1:80").at("way") == "short-circuit");
  CHECK(mesh.answer("127.0.0.1:80").at("way") == "direct");
  CHECK(mesh.answer("[::1]:80").at("way") == "direct");
  CHECK(mesh.answer("dns:53", "udp").at("way") == "direct");
  CHECK(mesh.answer("empty:80").at("way") == "direct");
  CHECK(mesh.reason("own:80") ==
        "Service shop/own:80: Pod shop/client and Pod shop/client are enrolled on this node "
        "with short-circuit on; 1 of 2 backends would be proxied");
  mesh.excluded = {{.netns = 1, .port = 9000}};
  CHECK(mesh.answer("10.1.0.8:9000").at("way") == "direct");
}

TEST_CASE("explain: what is dialled of a captured pod goes through its worker") {
  Mesh mesh;
  mesh.server().capture = true;
  mesh.server().capture_reason = "annotation on Pod";
  const std::string who = "Pod shop/server: underpass.dev/capture: always on Pod";
  CHECK(mesh.answer("10.0.0.2:9000").at("way") == "proxied");
  CHECK(mesh.reason("10.0.0.2:9000") == who);
  CHECK(mesh.answer("10.1.0.8:80").at("way") == "direct");
  CHECK(mesh.answer("10.0.0.2:80", "tcp", "shop/server").at("way") == "short-circuit");
  // Of a Service's backends, some.
  CHECK(mesh.answer("mixed:80").at("way") == "direct");
  CHECK(mesh.reason("mixed:80") ==
        "Service shop/mixed:80: 10.1.0.9 is no enrolled pod of this node; 1 of 2 backends would be proxied");
  CHECK(mesh.answer("own:80").at("way") == "short-circuit");
  // Whoever dials.
  CHECK(mesh.answer("10.0.0.2:80", "tcp", "shop/out").at("way") == "proxied");
  CHECK(mesh.reason("10.0.0.2:80", "shop/out") ==
        "Pod shop/out is not enrolled (no label): its connections are as without Underpass; " + who);
  CHECK(mesh.answer("10.0.0.2:53", "udp", "shop/out").at("way") == "direct");
  CHECK(mesh.answer("mixed:80", "tcp", "shop/out").at("way") == "direct");
  CHECK(mesh.reason("mixed:80", "shop/out").ends_with("; 1 of 2 backends would be proxied: " + who));

  mesh.excluded = {{.netns = 1, .port = 9000, .inbound = true}};
  CHECK(mesh.answer("10.0.0.2:9000").at("way") == "short-circuit");
  CHECK(mesh.answer("10.0.0.2:9001").at("way") == "proxied");
  mesh.client().capture = true;
  mesh.client().capture_reason = "annotation on Pod";
  CHECK(mesh.reason("10.0.0.2:9000") == "Pod shop/client: underpass.dev/capture: always on Pod");
  CHECK(mesh.reason("10.0.0.2:9001") == "Pod shop/client: underpass.dev/capture: always on Pod; " + who);
  // Nobody is there: it goes on as if nobody had asked.
  mesh.workers.clear();
  CHECK(mesh.answer("10.0.0.2:9001").at("way") == "short-circuit");
  CHECK(mesh.reason("10.0.0.2:9001").ends_with(who + ", and no worker is there"));
  CHECK(mesh.answer("10.0.0.2:80", "tcp", "shop/out").at("way") == "direct");
  mesh.workers = {1};
  mesh.client().capture = false;
  mesh.server().enrolled = false;
  CHECK(mesh.answer("10.0.0.2:9001").at("way") == "direct");
}

TEST_CASE("explain: where a tunnel leads it goes through a worker, and without one not at all") {
  Mesh mesh;
  const compile::Remote far{.pod = {"away", "far"}, .identity = 5, .workload = 6, .tunnel = model::Tunnel::kHbone};
  auto plain = far;
  plain.tunnel = model::Tunnel::kNone;
  mesh.remotes = {{{ip("10.1.0.8"), 0}, far}, {{ip("10.1.0.8"), 9000}, plain}};
  CHECK(mesh.answer("10.1.0.8:80").at("way") == "direct");  // of a pod that speaks no HBONE
  mesh.client().tunnels = mesh.client().capture = mesh.client().tunnel_only = true;
  const std::string why = "Pod away/far is reached through a tunnel (HBONE)";
  CHECK(mesh.answer("10.1.0.8:80").at("way") == "proxied");
  CHECK(mesh.answer("10.1.0.8:80").at("verdict") == "allow");
  CHECK(mesh.reason("10.1.0.8:80") == why);
  CHECK(mesh.answer("10.1.0.8:9000").at("way") == "direct");
  CHECK(mesh.answer("10.1.0.9:80").at("way") == "direct");
  // A worker for tunnels alone is in the way of nothing else, at either end.
  CHECK(mesh.answer("10.0.0.2:80").at("way") == "short-circuit");
  mesh.server().tunnels = mesh.server().capture = mesh.server().tunnel_only = true;
  CHECK(mesh.answer("10.0.0.2:80").at("way") == "short-circuit");
  CHECK(mesh.answer("far:80").at("way") == "direct");
  CHECK(mesh.reason("far:80").ends_with("; 1 of 2 backends would be proxied"));

  mesh.workers.clear();
  CHECK(mesh.answer("10.1.0.8:80").at("verdict") == "deny");
  CHECK(mesh.reason("10.1.0.8:80") == why + ", and no worker is there: it is refused");
  CHECK(mesh.answer("10.1.0.8:9000").at("verdict") == "allow");
  CHECK(mesh.answer("far:80").at("verdict") == "allow");  // one of two
  mesh.remotes[{ip("10.1.0.9"), 0}] = far;
  CHECK(mesh.answer("far:80").at("verdict") == "deny");
}

TEST_CASE("explain: where a worker decides by HTTP, that is said; without one it is a denial") {
  Mesh mesh;
  mesh.server().capture = mesh.server().inbound_only = true;
  mesh.server().capture_reason = mesh.server().decided_by = "AuthorizationPolicy shop/get";
  mesh.policies[{"shop", "server"}] = std::make_shared<const compile::PolicySet>(
      compile::compile_policy_set({}, {.pod = {"shop", "server"}, .excluded_ports = {9000}}));
  mesh.excluded = {{.netns = 1, .port = 9000, .inbound = true}};
  const auto answer = mesh.answer("10.0.0.2:80");
  CHECK(answer.at("verdict") == "allow");
  CHECK(answer.at("way") == "proxied");
  CHECK(mesh.reason("10.0.0.2:80").starts_with("Pod shop/server: AuthorizationPolicy shop/get; "));
  CHECK(mesh.reason("10.0.0.2:80").ends_with(", and HTTP decides: AuthorizationPolicy shop/get"));
  CHECK(mesh.answer("10.1.0.8:80", "tcp", "shop/server").at("way") == "direct");
  mesh.workers.clear();
  CHECK(mesh.answer("10.0.0.2:80").at("verdict") == "deny");
  CHECK(mesh.reason("10.0.0.2:80").ends_with("; no worker is there to do so"));
  CHECK(mesh.answer("10.0.0.2:80", "tcp", "shop/out").at("verdict") == "deny");
  CHECK(mesh.answer("10.0.0.2:9000").at("verdict") == "allow");
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

namespace {

// Policies of pod shop/server, at whose port 8080 Service web is, and at 80 one of the two backends of Service mixed.
struct Policies {
  Policies() {
    input.accounts = {{"shop", "client"}, {"shop", "plain"}};
    target.pod = {"shop", "server"};
  }

  model::AuthorizationPolicy& add(const char* name, model::AuthorizationPolicy::Action action, const char* account) {
    auto policy = std::make_shared<model::AuthorizationPolicy>();
    policy->id = {"shop", name};
    policy->action = action;
    model::PolicySource source;
    source.service_accounts.values = {{.kind = model::StringMatch::Kind::kExact, .text = account}};
    policy->rules = {{.from = {source}, .to = {}, .when = {}}};
    input.policies.push_back(policy);
    return *policy;
  }
  void add_strict() {
    auto one = std::make_shared<model::PeerAuthentication>();
    one->id = {"shop", "default"};
    one->mode = model::MtlsMode::kStrict;
    input.peer_authentications.push_back(one);
  }

  json::object ask(const char* from, const char* to, const char* protocol = "tcp") const {
    Mesh mesh;
    mesh.excluded = excluded;
    mesh.server().capture = captured;
    mesh.policies[target.pod] = std::make_shared<const compile::PolicySet>(compile::compile_policy_set(input, target));
    return mesh.answer(to, protocol, from);
  }
  // "deny AuthorizationPolicy shop/never rules[0].from[0]: why"
  std::string told(const char* from, const char* to, const char* protocol = "tcp") const {
    const auto answer = ask(from, to, protocol);
    std::string out(answer.at("verdict").as_string());
    if (const auto& by = answer.at("decidedBy"); by.is_object()) {
      out += " " + std::string(by.at("kind").as_string()) + " " + std::string(by.at("namespace").as_string()) + "/" +
             std::string(by.at("name").as_string());
      if (by.at("rule").is_string()) out += " " + std::string(by.at("rule").as_string());
    }
    return out + ": " + std::string(answer.at("reason").as_string());
  }

  compile::PolicyInput input;
  compile::PolicyTarget target;
  std::set<compile::ExcludedPort> excluded;
  bool captured = false;  // the server
};

const auto kAllow = model::AuthorizationPolicy::Action::kAllow;
const auto kDeny = model::AuthorizationPolicy::Action::kDeny;
const std::string kOn = "Pod shop/client and Pod shop/server are enrolled on this node with short-circuit on";
const std::string kClient = "Pod shop/client (spiffe://cluster.local/ns/shop/sa/client)";
const std::string kPlain = "Pod shop/plain (spiffe://cluster.local/ns/shop/sa/plain)";

}  // namespace

TEST_CASE("explain: policy allows and denies by a rule") {
  Policies policies;
  policies.add("some", kAllow, "shop/client");
  policies.add("never", kDeny, "shop/plain");
  CHECK(policies.told("shop/client", "10.0.0.2:8080") ==
        "allow AuthorizationPolicy shop/some rules[0].from[0]: " + kOn +
            "; AuthorizationPolicy shop/some rules[0].from[0] allows " + kClient);
  CHECK(
      policies.told("shop/plain", "10.0.0.2:8080") ==
      "deny AuthorizationPolicy shop/never rules[0].from[0]: AuthorizationPolicy shop/never rules[0].from[0] denies " +
          kPlain);
  CHECK(policies.ask("shop/plain", "10.0.0.2:8080").at("way") == "direct");
  // To itself, and by datagram.
  CHECK(policies.told("shop/server", "10.0.0.2:8080").starts_with("allow: "));
  CHECK(policies.told("shop/plain", "10.0.0.2:8080", "udp").starts_with("allow: "));
  // There is no policy of others.
  CHECK(policies.told("shop/plain", "10.0.0.1:8080").starts_with("allow: Pod shop/plain has"));
}

TEST_CASE("explain: default deny names the ALLOW policies that do not match") {
  Policies policies;
  policies.add("a", kAllow, "shop/nobody");
  policies.add("b", kAllow, "shop/client").rules.clear();
  CHECK(policies.told("shop/client", "10.0.0.2:80") ==
        "deny AuthorizationPolicy shop/a: no ALLOW policy of Pod shop/server matches " + kClient + ": shop/a, shop/b");
  policies.input.policies.clear();
  policies.add("never", kDeny, "shop/nobody");
  CHECK(policies.told("shop/client", "10.0.0.2:80") ==
        "allow: " + kOn + "; no policy of Pod shop/server denies " + kClient);
}

TEST_CASE("explain: who is not of the mesh is unauthenticated, and STRICT refuses that") {
  Policies policies;
  policies.add("some", kAllow, "shop/client");
  CHECK(policies.told("shop/out", "10.0.0.2:80") ==
        "deny AuthorizationPolicy shop/some: no ALLOW policy of Pod shop/server matches Pod shop/out "
        "(unauthenticated): shop/some");
  policies.add_strict();
  CHECK(policies.told("shop/out", "10.0.0.2:80") ==
        "deny PeerAuthentication shop/default STRICT: PeerAuthentication shop/default STRICT denies Pod shop/out "
        "(unauthenticated): plaintext is refused");
  CHECK(policies.told("shop/out", "web:80").starts_with("deny PeerAuthentication shop/default STRICT: Service"));
  CHECK(policies.told("shop/client", "10.0.0.2:80").starts_with("allow AuthorizationPolicy shop/some "));
}

TEST_CASE("explain: a port that the client excludes is dialled as by a stranger") {
  Policies policies;
  policies.add("some", kAllow, "shop/client");
  policies.excluded = {{.netns = 1, .port = 9000}};
  CHECK(policies.told("shop/client", "10.0.0.2:9001").starts_with("allow AuthorizationPolicy shop/some "));
  CHECK(policies.told("shop/client", "10.0.0.2:9000") ==
        "deny AuthorizationPolicy shop/some: no ALLOW policy of Pod shop/server matches Pod shop/client "
        "(unauthenticated): shop/some");
  CHECK(policies.told("shop/client", "10.0.0.4:9000") ==
        "allow: Pod shop/client excludes port 9000 (exclude-outbound-ports): its connections are as without Underpass");
}

TEST_CASE("explain: policy comes before the worker") {
  Policies policies;
  policies.add("some", kAllow, "shop/client");
  policies.captured = true;
  CHECK(policies.ask("shop/client", "10.0.0.2:80").at("way") == "proxied");
  CHECK(
      policies.told("shop/client", "10.0.0.2:80")
          .starts_with("allow AuthorizationPolicy shop/some rules[0].from[0]: Pod shop/server: underpass.dev/capture"));
  CHECK(policies.ask("shop/plain", "10.0.0.2:80").at("way") == "direct");
  CHECK(policies.told("shop/plain", "10.0.0.2:80").starts_with("deny AuthorizationPolicy shop/some: "));
}

TEST_CASE("explain: what bypasses policy, what is closed") {
  Policies policies;
  policies.target.excluded_ports = {9090};
  policies.add("some", kAllow, "shop/nobody");
  CHECK(policies.told("shop/client", "10.0.0.2:9090") ==
        "allow Pod shop/server excluded ports: " + kOn +
            "; policy has no say at port 9090 of Pod shop/server (excluded ports)");
  policies.input.unread = {{"AuthorizationPolicy", {"shop", "bad"}}};
  CHECK(policies.told("shop/client", "10.0.0.2:80") ==
        "deny AuthorizationPolicy shop/bad: Pod shop/server is closed: AuthorizationPolicy shop/bad was never "
        "understood");
  CHECK(policies.told("shop/client", "10.0.0.2:9090").starts_with("allow Pod shop/server excluded ports"));
}

TEST_CASE("explain: what a dry run would do") {
  Policies policies;
  policies.add("dry", kDeny, "shop/client").dry_run = true;
  policies.add("dry-allow", kAllow, "shop/nobody").dry_run = true;
  CHECK(policies.told("shop/client", "10.0.0.2:80") ==
        "allow: " + kOn + "; no policy of Pod shop/server denies " + kClient +
            "; in dry run, AuthorizationPolicy shop/dry rules[0].from[0] would deny it; in dry run, no ALLOW policy "
            "would match: shop/dry-allow");
}

TEST_CASE("explain: a Service is denied where all of its backends are") {
  Policies policies;
  policies.add("never", kDeny, "shop/client");
  const std::string why = "AuthorizationPolicy shop/never rules[0].from[0] denies " + kClient;
  CHECK(policies.told("shop/client", "web:80") ==
        "deny AuthorizationPolicy shop/never rules[0].from[0]: Service shop/web:80: " + why);
  CHECK(policies.told("shop/client", "mixed:80") ==
        "allow Service shop/mixed: Service shop/mixed:80: 10.1.0.9 is no enrolled pod of this node; 1 of 2 backends "
        "would be short-circuited; 1 of 2 backends are denied: " +
            why);
  // A pod always reaches itself.
  CHECK(policies.told("shop/client", "own:80").contains("; 1 of 2 backends are denied: "));
  CHECK(policies.ask("shop/client", "own:80").at("verdict") == "allow");
}
