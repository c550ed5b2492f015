// SPDX-License-Identifier: Apache-2.0
// What a worker decides of each request: by method, path, header, account, token, and by asking a provider. The
// server's own count says what got through; the access log and the metrics name what did not.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "test/netns/decided/scene.h"
#include "test/netns/http/script_server.h"
#include "test/netns/http/wire.h"
#include "test/unit/jwt_signer.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr const char* kProviderIp = "10.96.7.7";

std::string object(const std::string& kind, const std::string& name, const std::string& spec) {
  return R"({"apiVersion": "security.istio.io/v1", "kind": ")" + kind +
         R"(", "metadata": {"namespace": "shop", "name": ")" + name + R"("}, "spec": )" + spec + "}\n";
}

std::string of_b(const std::string& more) { return R"({"selector": {"matchLabels": {"app": "b"}}, )" + more + "}"; }

class Requests : public Decided {
 public:
  Requests() {
    PodObject web = object_of("shop", "a");
    web.service_account = "web";
    objects.put(web);
  }

  // Waits until a worker judges by what `text` says, of which a request of `client` is `wanted`.
  void put_rules(const std::string& text, const std::string& client, const std::string& request, unsigned wanted) {
    put_policy(text);
    unsigned last = 0;
    const bool there = eventually(seconds(15), [&] { return (last = status(client, request)) == wanted; });
    if (!there)
      throw std::runtime_error("status " + std::to_string(last) + " and never " + std::to_string(wanted) + "\n" +
                               agent.log());
  }

  // "GET /a", and more fields; 0: no connection.
  Message answer(const std::string& client, const std::string& request, const std::string& fields = "",
                 const std::string& body = "") const {
    Wire wire(at(client), at("b"), server.port());
    wire.send(request + " HTTP/1.1\r\nhost: shop.example\r\n" + fields +
              (body.empty() ? "" : "content-length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body);
    return wire.read_answer(request.substr(0, request.find(' ')));
  }
  unsigned status(const std::string& client, const std::string& request, const std::string& fields = "") const {
    return answer(client, request, fields).status();
  }

  // The last line of the access log for this path.
  [[nodiscard]] json::object line_of(const std::string& path) const {
    json::object out;
    const bool there = eventually(seconds(10), [&] {
      std::istringstream lines(agent.log());
      for (std::string line; std::getline(lines, line);)
        if (line.starts_with('{') && line.contains("\"path\":\"" + path + '"')) out = json::parse(line).as_object();
      return !out.empty();
    });
    if (!there) throw std::runtime_error("no line for " + path + "\n" + agent.log());
    return out;
  }
  [[nodiscard]] bool metric_appears(const std::vector<std::string>& parts) const {
    const auto listen = text_of(ctl.json({"status"}).at("listen").at("metrics"));
    return eventually(seconds(10), [&] {
      std::istringstream lines(
          run_ok({.argv = {"curl", "-s", "http://" + listen + "/metrics"}, .netns = net.bridge_netns()}));
      for (std::string line; std::getline(lines, line);)
        if (std::ranges::all_of(parts, [&](const std::string& part) { return line.contains(part); })) return true;
      return false;
    });
  }

  // The value of the counter of that name with these labels; 0: it is not there.
  [[nodiscard]] std::uint64_t count_of(const std::string& name, const std::string& labels) const {
    const auto listen = text_of(ctl.json({"status"}).at("listen").at("metrics"));
    std::istringstream lines(
        run_ok({.argv = {"curl", "-s", "http://" + listen + "/metrics"}, .netns = net.bridge_netns()}));
    const std::string begin = name + "{" + labels + "} ";
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(begin)) return std::stoull(line.substr(begin.size()));
    return 0;
  }

  ScriptServer server{at("b"), [](Wire& wire, const Message& request) {
                        wire.send(ok(request.field("x-user").empty() ? "fine" : request.field("x-user")));
                        return true;
                      }};
};

TEST_CASE("decided: each request of a connection is judged for itself") {
  Requests scene;
  scene.put_rules(allow_get(), "a", "GET /x", 200);
  Wire wire(scene.at("out"), scene.at("b"), scene.server.port());
  for (const char* method : {"GET", "POST", "GET", "DELETE"}) {
    CAPTURE(method);
    wire.send(std::string(method) + " /" + method + " HTTP/1.1\r\nhost: b\r\n\r\n");
    const Message got = wire.read_answer();
    CHECK(got.status() == (std::string(method) == "GET" ? 200 : 403));
    if (got.status() == 403) CHECK(got.body == "RBAC: access denied");
  }
  for (const Message& request : scene.server.requests()) CHECK(request.method() == "GET");
  const auto line = scene.line_of("/POST");
  CHECK(text_of(line.at("code")) == "403");
  CHECK(text_of(line.at("flags")) == "RBAC");
  CHECK(text_of(line.at("method")) == "POST");
  CHECK(text_of(line.at("destination").at("pod")) == "b");
  CHECK(scene.metric_appears({"istio_requests_total{", "response_code=\"403\"", "response_flags=\"RBAC\"",
                              "reporter=\"destination\"", "destination_workload=\"b\""}));
  CHECK(scene.metric_appears({"istio_requests_total{", "response_code=\"200\"", "reporter=\"destination\""}));
}

TEST_CASE("decided: a request that asks for HTTP/2 is judged like any other, and so are those behind it") {
  Requests scene;
  scene.put_rules(allow_get(), "a", "GET /x", 200);
  const std::string url = "http://" + scene.at("b").v4 + ":" + std::to_string(scene.server.port());
  const auto curl = [&](const char* client, const std::vector<std::string>& methods) {
    std::vector<std::string> argv{"curl"};
    for (const auto& method : methods) {
      if (argv.size() > 1) argv.emplace_back("--next");
      argv.insert(argv.end(),
                  {"-gsS", "--http2", "-X", method, "-w", " %{http_version} %{response_code}\n", url + "/" + method});
    }
    return run_ok({.argv = argv, .netns = scene.at(client).netns});
  };
  for (const char* client : {"a", "out"}) {
    CHECK(curl(client, {"GET", "DELETE"}) == "fine 2 200\nRBAC: access denied 2 403\n");
    CHECK(curl(client, {"PUT", "GET"}) == "RBAC: access denied 2 403\nfine 2 200\n");
  }
  for (const Message& request : scene.server.requests()) {
    CHECK(request.method() == "GET");
    CHECK_FALSE(request.has("upgrade"));
  }
  for (const char* path : {"/PUT", "/DELETE"}) {
    const auto line = scene.line_of(path);
    CHECK(text_of(line.at("code")) == "403");
    CHECK(text_of(line.at("flags")) == "RBAC");
  }
}

TEST_CASE("decided: paths are matched in the form in which they are forwarded, whoever asks") {
  Requests scene;
  scene.put_rules(object("AuthorizationPolicy", "get",
                         of_b(R"("action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}])")),
                  "a", "GET /admin", 403);
  const std::size_t before = scene.server.requests().size();
  for (const char* path : {"/admin", "/admin/x", "/x/../admin", "//admin", "/%61dmin", "/./admin", "/x/%2e%2e/admin",
                           "/admin?x", "\\admin", "/x\\..\\admin"}) {
    CAPTURE(path);
    const auto status = scene.status("out", std::string("GET ") + path);
    CHECK((status == 403 || status == 400));
  }
  CHECK(scene.status("out", "GET /public/../open") == 200);
  REQUIRE(scene.server.requests().size() == before + 1);
  CHECK(scene.server.requests().back().target() == "/open");
  CHECK(text_of(scene.line_of("/admin/x").at("policy")).contains("shop/get"));
}

TEST_CASE("decided: accounts, headers and hosts") {
  Requests scene;
  scene.put_rules(object("AuthorizationPolicy", "get",
                         of_b(R"("rules": [{"from": [{"source": {"serviceAccounts": ["shop/web"]}}], )"
                              R"("to": [{"operation": {"hosts": ["shop.example"], "methods": ["GET"]}}], )"
                              R"("when": [{"key": "request.headers[x-team]", "values": ["red*"]}]}])")),
                  "a", "GET /no-team", 403);
  CHECK(scene.status("a", "GET /a", "x-team: red-1\r\n") == 200);
  CHECK(scene.status("a", "GET /a", "x-team: blue\r\n") == 403);
  CHECK(scene.status("a", "PUT /a", "x-team: red-1\r\n") == 403);
  // By their accounts the kernel refuses them already.
  for (const char* other : {"out", "c"})
    CHECK(dial(scene.at(other), Address::of(scene.at("b").v4, scene.server.port())).contains("Connection refused"));
  const auto grpc = scene.answer("a", "POST /shop.Cart/Add", "content-type: application/grpc\r\n", "abc");
  CHECK(grpc.status() == 200);
  CHECK(grpc.field("grpc-status") == "7");
}

TEST_CASE("decided: what is no HTTP is judged as a connection") {
  Requests scene;
  scene.put_rules(allow_get(), "a", "GET /x", 200);
  Wire wire(scene.at("a"), scene.at("b"), scene.server.port());
  wire.send("\x16\x03\x01 not a word of HTTP");
  CHECK(wire.was_reset());
  const std::size_t before = scene.server.connections();
  Wire silent(scene.at("a"), scene.at("b"), scene.server.port());
  CHECK(silent.was_reset());
  CHECK(scene.server.connections() == before);
}

TEST_CASE("decided: tokens") {
  Requests scene;
  const Signer signer = Signer::curve("P-256"), other = Signer::curve("P-256");
  json::object rule{{"issuer", "https://idp.example"},
                    {"jwks", signer.set(R"("kid":"one")")},
                    {"outputClaimToHeaders", json::array{json::object{{"header", "x-user"}, {"claim", "sub"}}}}};
  scene.objects.put_text("jwt.yaml", object("RequestAuthentication", "tokens",
                                            of_b("\"jwtRules\": " + json::serialize(json::array{rule}))));
  scene.put_rules(
      object("AuthorizationPolicy", "get",
             of_b(R"("rules": [{"from": [{"source": {"requestPrincipals": ["https://idp.example/*"]}}]}])")),
      "a", "GET /none", 403);
  const auto bearer = [](const Signer& by, const std::string& payload) {
    return "authorization: Bearer " + by.token("ES256", payload, R"("kid":"one")") + "\r\n";
  };
  const std::string good = R"({"iss":"https://idp.example","sub":"alice","exp":4102444800})";
  REQUIRE(eventually(seconds(10), [&] { return scene.status("out", "GET /good", bearer(signer, good)) == 200; }));
  CHECK(scene.answer("out", "GET /good", "x-user: mallory\r\n" + bearer(signer, good)).body == "alice");
  CHECK(scene.status("out", "GET /forged", bearer(other, good)) == 401);
  CHECK(scene.status("out", "GET /old", bearer(signer, R"({"iss":"https://idp.example","sub":"a","exp":1})")) == 401);
  CHECK(scene.status("out", "GET /junk", "authorization: Bearer a.b.c\r\n") == 401);
  CHECK(text_of(scene.line_of("/forged").at("flags")) == "JWT");
  for (const Message& request : scene.server.requests()) CHECK_FALSE(request.has("authorization"));
}

TEST_CASE("decided: a CUSTOM policy asks its provider, and without an answer nobody gets in") {
  Requests scene;
  std::atomic<bool> gone = false;
  ScriptServer provider(scene.at("out"), [&](Wire& wire, const Message& request) {
    if (gone) return false;
    if (request.field("x-pass") == "slow") return !wire.ended(seconds(20));  // until nobody waits any more
    if (request.field("x-pass") == "yes")
      wire.send(ok("", "x-user: by-provider\r\n"));
    else
      wire.send("HTTP/1.1 418 No\r\nlocation: /login\r\nx-why: because\r\ncontent-length: 3\r\n\r\nno!");
    return true;
  });
  scene.objects.put(
      ServiceObject{.ns = "elsewhere",
                    .name = "authz",
                    .cluster_ips = {kProviderIp},
                    .ports = {{.name = "http", .port = 9000, .target = std::to_string(provider.port())}}});
  scene.objects.put(EndpointSliceObject{.ns = "elsewhere",
                                        .name = "authz-1",
                                        .service = "authz",
                                        .ports = {{.name = "http", .port = provider.port()}},
                                        .endpoints = {{.ip = scene.at("out").v4}}});
  scene.objects.put_text(
      "mesh.yaml",
      "apiVersion: underpass.dev/v1alpha1\nkind: Mesh\nmetadata:\n  name: default\nspec:\n  extensionProviders:\n"
      "  - name: asker\n    envoyExtAuthzHttp:\n      service: authz.elsewhere.svc.cluster.local\n      port: 9000\n"
      "      timeout: 2s\n      includeRequestHeadersInCheck: [x-pass]\n      headersToUpstreamOnAllow: [x-user]\n");
  const std::string custom = object(
      "AuthorizationPolicy", "ask",
      of_b(
          R"("action": "CUSTOM", "provider": {"name": "asker"}, "rules": [{"to": [{"operation": {"paths": ["/ask*"]}}]}])"));
  scene.put_rules(custom, "a", "GET /ask", 418);
  const Message refused = scene.answer("out", "GET /ask");
  CHECK(refused.status() == 418);
  CHECK(refused.body == "no!");
  CHECK(refused.field("x-why") == "because");
  CHECK(scene.answer("out", "GET /ask-yes", "x-pass: yes\r\nx-user: mallory\r\n").body == "by-provider");
  CHECK(scene.status("out", "GET /free") == 200);
  CHECK(text_of(scene.line_of("/ask-yes").at("flags")) == "-");
  CHECK(text_of(scene.line_of("/ask").at("flags")) == "UAEX");
  CHECK(scene.status("out", "GET /ask-slow", "x-pass: slow\r\n") == 403);
  CHECK(text_of(scene.line_of("/ask-slow").at("details")) == "ext_authz_error{timeout}");
  gone = true;
  provider.close();
  CHECK(eventually(seconds(10), [&] { return scene.status("out", "GET /ask", "x-pass: yes\r\n") == 403; }));
  CHECK(scene.status("out", "GET /free") == 200);
}

TEST_CASE("decided: explain tells of a request what the worker does") {
  Requests scene;
  const std::string rules = R"("rules": [{"to": [{"operation": {"methods": ["GET"], "paths": ["/a/{*}"]}}], )"
                            R"("when": [{"key": "request.headers[x-team]", "values": ["red"]}]}])";
  scene.put_rules(object("AuthorizationPolicy", "get", of_b(rules)), "a", "GET /none", 403);
  struct Row {
    std::string method, path, team;
  };
  const std::string to = scene.at("b").v4 + ":" + std::to_string(scene.server.port());
  for (const Row& row : {Row{"GET", "/a/x", "red"}, Row{"GET", "/a/x", "blue"}, Row{"PUT", "/a/x", "red"},
                         Row{"GET", "/a/x/y", "red"}, Row{"GET", "/b/../a/x", "red"}}) {
    CAPTURE(row.method + " " + row.path + " " + row.team);
    const bool passes = scene.status("a", row.method + " " + row.path, "x-team: " + row.team + "\r\n") == 200;
    const Finished told = scene.ctl.run({"-o", "json", "explain", "--from", "shop/a", "--to", to, "--method",
                                         row.method, "--path", row.path, "--header", "x-team: " + row.team});
    CHECK(told.exit.code == (passes ? 0 : 1));
    const auto answer = json::parse(told.out);
    CHECK(text_of(answer.at("verdict")) == (passes ? "allow" : "deny"));
    if (!passes) CHECK(text_of(answer.at("reason")).contains("no ALLOW policy"));
  }
  const auto led = scene.ctl.json({"explain", "--from", "shop/a", "--to", to});
  CHECK(text_of(led.at("way")) == "proxied");
  CHECK(text_of(led.at("reason")).contains("HTTP decides: AuthorizationPolicy shop/get"));
}

TEST_CASE("decided: what only tells is counted once, per connection by the kernel or per request by the worker") {
  Requests scene;
  const std::string get = R"("rules": [{"to": [{"operation": {"methods": ["GET"]}}]}])", all = R"("rules": [{}])",
                    put = R"("rules": [{"to": [{"operation": {"methods": ["PUT"]}}]}])";
  const auto dry = [](const std::string& text) {
    auto out = text;
    return out.insert(out.find("\"metadata\": {") + 13, R"("annotations": {"istio.io/dry-run": "true"}, )");
  };
  const auto policy = [](const std::string& name, const std::string& action, const std::string& rules) {
    return object("AuthorizationPolicy", name, of_b("\"action\": \"" + action + "\", " + rules));
  };
  std::string telling;
  for (const auto& one :
       {policy("seen", "AUDIT", all), policy("seen-get", "AUDIT", get), dry(policy("no", "DENY", all)),
        dry(policy("no-get", "DENY", get)), dry(policy("some-puts", "ALLOW", put))})
    telling += "---\n" + one;
  scene.objects.put_text("telling.yaml", telling);
  scene.put_rules(allow_get(), "a", "GET /x", 200);
  const std::string audited = "underpass_audited_total", dry_run = "underpass_dry_run_denied_total";
  const auto of = [](const std::string& name, const std::string& side) {
    return "policy=\"" + name + "\",side=\"" + side + "\"";
  };
  REQUIRE(eventually(seconds(15), [&] {
    scene.status("out", "GET /x");
    return scene.count_of(audited, of("shop/seen-get", "server")) > 0 &&
           scene.count_of(dry_run, of("", "server")) > 0 && scene.count_of(audited, of("shop/seen", "server")) > 0;
  }));
  const auto counts = [&] {
    return std::vector<std::uint64_t>{scene.count_of(audited, of("shop/seen", "client")),
                                      scene.count_of(audited, of("shop/seen", "server")),
                                      scene.count_of(audited, of("shop/seen-get", "client")),
                                      scene.count_of(audited, of("shop/seen-get", "server")),
                                      scene.count_of(dry_run, of("shop/no", "client")),
                                      scene.count_of(dry_run, of("shop/no", "server")),
                                      scene.count_of(dry_run, of("shop/no-get", "client")),
                                      scene.count_of(dry_run, of("shop/no-get", "server")),
                                      scene.count_of(dry_run, of("", "client")),
                                      scene.count_of(dry_run, of("", "server"))};
  };
  // Workers tell once a second: of the requests above all is there when nothing new came for longer than that.
  auto before = counts();
  auto since = std::chrono::steady_clock::now();
  REQUIRE(eventually(seconds(15), [&] {
    if (const auto now = counts(); std::exchange(before, now) != now) since = std::chrono::steady_clock::now();
    return std::chrono::steady_clock::now() - since > std::chrono::milliseconds(2500);
  }));
  Wire wire(scene.at("a"), scene.at("b"), scene.server.port());
  for (const char* method : {"GET", "POST", "GET", "PUT"}) {  // ALLOW lets in GET
    wire.send(std::string(method) + " /told HTTP/1.1\r\nhost: b\r\n\r\n");
    CHECK(wire.read_answer().status() == (std::string(method) == "GET" ? 200 : 403));
  }
  std::vector<std::uint64_t> more;
  const std::vector<std::uint64_t> wanted{1, 1, 0, 2, 1, 1, 0, 2, 0, 3};
  const bool counted = eventually(seconds(10), [&] {
    more = counts();
    for (std::size_t i = 0; i < more.size(); ++i) more[i] -= before[i];
    return more == wanted;
  });
  std::string text;
  for (const auto one : more) text += " " + std::to_string(one);
  CHECK_MESSAGE(counted, text);
  const auto rows = scene.ctl.json({"policies"}).as_array();
  for (const auto& row : rows)
    if (text_of(row.at("name")) == "some-puts") CHECK(row.at("dryRunDenied").to_number<int>() >= 3);
}

TEST_CASE("decided: a policy that changes is in force for the next request of a connection that lives") {
  Requests scene;
  scene.put_rules(allow_get(), "a", "GET /x", 200);
  Wire wire(scene.at("out"), scene.at("b"), scene.server.port());
  wire.send("GET /before HTTP/1.1\r\nhost: b\r\n\r\n");
  CHECK(wire.read_answer().status() == 200);
  scene.put_rules(
      object("AuthorizationPolicy", "get", of_b(R"("rules": [{"to": [{"operation": {"methods": ["PUT"]}}]}])")), "a",
      "GET /x", 403);
  wire.send("GET /after HTTP/1.1\r\nhost: b\r\n\r\n");
  CHECK(wire.read_answer().status() == 403);
  for (const Message& request : scene.server.requests()) CHECK(request.target() != "/after");
}

}  // namespace
}  // namespace underpass::test
