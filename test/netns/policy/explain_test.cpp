// SPDX-License-Identifier: Apache-2.0
// What operators are told of policy is what happens: explain against connect(), and denials in flows, in the log and in
// the metrics.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/support/sockets.h"
#include "test/support/world.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr std::uint16_t kOpen = 9191;  // at which policy has no say

std::string object(const std::string& kind, const std::string& name, const std::string& spec,
                   const std::string& annotations = "{}") {
  return R"({"apiVersion": "security.istio.io/v1", "kind": ")" + kind +
         R"(", "metadata": {"namespace": "shop", "name": ")" + name + R"(", "annotations": )" + annotations +
         R"(}, "spec": )" + spec + "}\n---\n";
}

std::string policy(const std::string& name, const std::string& spec) {
  return object("AuthorizationPolicy", name, spec);
}

std::string dry_run(const std::string& name, const std::string& spec) {
  return object("AuthorizationPolicy", name, spec, R"({"istio.io/dry-run": "true"})");
}

// Pods a (account front), c and x (default) and out, which is not of the mesh, dial b. What x dials at 9090 it
// excludes.
class Scene {
 public:
  Scene() : world({.mesh = "enabled", .short_circuit = "on"}) {
    auto front = world.pod_object("shop", "a");
    front.service_account = "front";
    world.objects.put(front);
    world.add_pod("shop", "c");
    world.add_pod("shop", "x");
    world.add_pod("shop", "out", {.mesh = "disabled"});
    annotate("b", {{"underpass.dev/exclude-inbound-ports", "9191"}});
    annotate("x", {{"underpass.dev/exclude-outbound-ports", "9090"}});
    for (const std::uint16_t port : {std::uint16_t{8080}, std::uint16_t{9090}, kOpen})
      for (const int family : {AF_INET, AF_INET6}) listeners_.push_back(listen_at(world.at("b"), family, {}, port));
    for (const char* name : {"a", "c", "x"}) world.wait_enrolled("shop", name);
    REQUIRE(eventually(seconds(5), [&] { return text_of(pod("a").at("identity")).ends_with("/sa/front"); }));
  }

  // In force when it returns.
  void put(const std::string& text, const std::string& name) {
    world.objects.put_text("policy.yaml", text);
    const auto is_there = [&] {
      for (const auto& row : world.ctl.json({"policies"}).as_array())
        if (text_of(row.at("name")) == name) return true;
      return false;
    };
    REQUIRE(eventually(seconds(5), is_there));
  }

  [[nodiscard]] Address target(int family, std::uint16_t port) const {
    return Address::of(world.at("b").ip(family), port);
  }

  // True: the connection is made; false: it is refused.
  [[nodiscard]] bool dial(const std::string& from, const Address& to) const {
    try {
      (void)connect_from(world.at(from), to);
      return true;
    } catch (const std::runtime_error& error) {
      REQUIRE_MESSAGE(std::string(error.what()).contains("Connection refused"), error.what());
      return false;
    }
  }

  [[nodiscard]] json::object explain(const std::string& from, const std::string& to, bool allowed) const {
    const auto done = world.ctl.run({"explain", "--from", "shop/" + from, "--to", to, "-o", "json"});
    CHECK(done.exit.code == (allowed ? 0 : 1));
    return json::parse(done.out).as_object();
  }

  [[nodiscard]] std::vector<json::object> denied() const {
    std::vector<json::object> out;
    std::istringstream lines(world.ctl.run({"flows", "-o", "json"}).out);
    for (std::string line; std::getline(lines, line);) {
      auto flow = json::parse(line).as_object();
      if (text_of(flow.at("event")) == "denied") out.push_back(std::move(flow));
    }
    return out;
  }

  // Of the series that has all these labels; 0 where there is none.
  [[nodiscard]] double metric(const std::string& name, const std::vector<std::string>& labels) const {
    const auto listen = text_of(world.ctl.json({"status"}).at("listen").at("metrics"));
    std::istringstream lines(run_ok({.argv = {"curl", "-sSf", "http://" + listen + "/metrics"}}));
    for (std::string line; std::getline(lines, line);) {
      const auto has = [&](const std::string& label) { return line.contains(label); };
      if (line.starts_with(name + "{") && std::ranges::all_of(labels, has))
        return std::stod(line.substr(line.rfind(' ')));
    }
    return 0;
  }

  [[nodiscard]] json::value policy_cell(const std::string& name, const char* column) const {
    for (const auto& row : world.ctl.json({"policies"}).as_array())
      if (text_of(row.at("name")) == name) return row.at(column);
    return nullptr;
  }

  World world;

 private:
  [[nodiscard]] json::object pod(const std::string& name) const {
    for (const auto& row : world.ctl.json({"pods"}).as_array())
      if (text_of(row.at("name")) == name) return row.as_object();
    return {{"identity", nullptr}};
  }

  void annotate(const std::string& name, const Strings& annotations) const {
    auto pod = world.pod_object("shop", name);
    pod.annotations = annotations;
    world.objects.put(pod);
  }

  std::vector<UniqueFd> listeners_;
};

std::string port_text(const Scene& scene, int family, std::uint16_t port) {
  const auto ip = scene.world.at("b").ip(family);
  return (family == AF_INET ? ip : "[" + ip + "]") + ":" + std::to_string(port);
}

TEST_CASE("explain: what it says is what connect() does, and flows name the same policy") {
  struct Row {
    std::string name;  // of the policy that is waited for, and that decides
    std::string objects;
    std::string allowed;  // "a8080 c9090 ..." over both families; port 9191 is always open
  };
  const std::string all = "a8080 a9090 c8080 c9090 out8080 out9090 x8080 x9090";
  const auto from = [](const std::string& source) { return R"({"rules": [{"from": [{"source": )" + source + "}]}]}"; };
  const std::vector<Row> rows{
      {"by-account", policy("by-account", from(R"({"serviceAccounts": ["shop/front"]})")), "a8080 a9090"},
      {"by-namespace", policy("by-namespace", from(R"({"namespaces": ["shop"]})")), "a8080 a9090 c8080 c9090 x8080"},
      {"by-port", policy("by-port", R"({"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["9090"]}}]}]})"),
       "a8080 c8080 out8080 x8080"},
      {"not-front",
       policy("not-front",
              R"({"action": "DENY", "rules": [{"from": [{"source": {"notServiceAccounts": ["shop/front"]}}]}]})"),
       "a8080 a9090"},
      {"nothing", policy("nothing", "{}"), ""},
      {"strict", object("PeerAuthentication", "strict", R"({"mtls": {"mode": "STRICT"}})"),
       "a8080 a9090 c8080 c9090 x8080"},
      {"broken", policy("broken", R"({"action": "MAYBE"})"), ""},
      {"dry", dry_run("dry", R"({"action": "DENY", "rules": [{}]})"), all},
  };
  Scene scene;
  for (const auto& row : rows) {
    CAPTURE(row.name);
    scene.put(row.objects, row.name);
    for (const int family : {AF_INET, AF_INET6}) {
      for (const std::string client : {"a", "c", "out", "x"}) {
        for (const std::uint16_t port : {std::uint16_t{8080}, std::uint16_t{9090}, kOpen}) {
          CAPTURE(client);
          CAPTURE(port);
          const bool wanted = port == kOpen || row.allowed.contains(client + std::to_string(port));
          CHECK(scene.dial(client, scene.target(family, port)) == wanted);
          const auto told = scene.explain(client, port_text(scene, family, port), wanted);
          CHECK(text_of(told.at("verdict")) == (wanted ? "allow" : "deny"));
          if (wanted) continue;
          CHECK(text_of(told.at("decidedBy").at("name")) == row.name);
          CHECK(text_of(told.at("reason")).contains(row.name));
          const auto flows = scene.denied();
          REQUIRE_FALSE(flows.empty());
          const auto& flow = flows.back();
          CHECK(text_of(flow.at("policy")).contains("shop/" + row.name));
          if (const auto rule = text_of(told.at("decidedBy").at("rule")); !rule.empty())
            CHECK(text_of(flow.at("policy")).ends_with(" " + rule));
          CHECK(text_of(flow.at("verdict")) == "deny");
          CHECK(text_of(flow.at("destination").at("pod")) == "b");
          CHECK(flow.at("destination").at("port").to_number<int>() == port);
          CHECK(text_of(flow.at("source").at("pod")) == client);
          // Where the kernel knows the client, connect() was asked.
          const bool stranger = client == "out" || (client == "x" && port == 9090);
          CHECK(text_of(flow.at("side")) == (stranger ? "server" : "client"));
        }
      }
    }
    if (row.name == "dry")
      CHECK(text_of(scene.explain("a", port_text(scene, AF_INET, 8080), true).at("reason"))
                .contains("in dry run, AuthorizationPolicy shop/dry rules[0] would deny it"));
  }
}

TEST_CASE("explain: a Service of which some backends are denied") {
  Scene scene;
  scene.world.objects.put(ServiceObject{.ns = "shop",
                                        .name = "web",
                                        .cluster_ips = {"10.96.0.10"},
                                        .ports = {{.name = "http", .port = 80, .target = "8080"}}});
  const auto put_backends = [&](const std::vector<std::string>& pods) {
    EndpointSliceObject slice{
        .ns = "shop", .name = "web-1", .service = "web", .ports = {{.name = "http", .port = 8080}}};
    for (const auto& pod : pods) slice.endpoints.push_back({.ip = scene.world.at(pod).v4});
    scene.world.objects.put(slice);
    REQUIRE(eventually(seconds(5), [&] {
      const auto told = scene.world.ctl.run({"explain", "--from", "shop/a", "--to", "web:80", "-o", "json"});
      return told.exit.code <= 1 && json::parse(told.out).at("backends").as_array().size() == pods.size();
    }));
  };
  auto spec =
      std::string(R"({"action": "DENY", "rules": [{"from": [{"source": {"serviceAccounts": ["shop/front"]}}]}],)") +
      R"( "selector": {"matchLabels": {"app": "b"}}})";
  auto b = scene.world.pod_object("shop", "b");
  b.labels = {{"app", "b"}};
  scene.world.objects.put(b);
  scene.put(policy("never", spec), "never");
  put_backends({"b", "c"});
  CHECK(text_of(scene.explain("a", "web:80", true).at("reason")).contains("1 of 2 backends are denied: "));
  put_backends({"b"});
  CHECK(text_of(scene.explain("a", "web:80", false).at("decidedBy").at("rule")) == "rules[0].from[0]");
  CHECK_FALSE(scene.dial("a", Address::of("10.96.0.10", 80)));
  CHECK(scene.dial("c", Address::of("10.96.0.10", 80)));
}

TEST_CASE("denied: counted by policy and side, and in the log with a count") {
  Scene scene;
  const auto to = scene.target(AF_INET, 8080);
  scene.put(policy("who", R"({"rules": [{"from": [{"source": {"serviceAccounts": ["shop/front"]}}]}]})") +
                policy("never", R"({"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["9090"]}}]}]})"),
            "who");
  for (int i = 0; i < 10; ++i) CHECK_FALSE(scene.dial("a", scene.target(AF_INET, 9090)));
  for (int i = 0; i < 3; ++i) CHECK_FALSE(scene.dial("out", to));
  CHECK(scene.metric("underpass_denied_total", {"policy=\"shop/never\"", "side=\"client\""}) == 10);
  CHECK(scene.metric("underpass_denied_total", {"policy=\"\"", "side=\"server\""}) == 3);
  // What none allowed counts for the ALLOW policy in the table.
  CHECK(scene.policy_cell("never", "denied") == 10);
  CHECK(scene.policy_cell("who", "denied") == 3);

  const auto counted = [&](const std::string& line) {
    std::uint64_t count = 0;
    std::istringstream lines(scene.world.agent.log());
    for (std::string one; std::getline(lines, one);)
      if (one.contains(line)) count += std::stoull(one.substr(one.rfind("count=") + 6));
    return count;
  };
  const std::string never =
      "denied policy=\"AuthorizationPolicy shop/never\" rule=\"rules[0]\" source=shop/a "
      "identity=spiffe://cluster.local/ns/shop/sa/front destination=shop/b:9090 side=client count=";
  const std::string who =
      "denied policy=\"no ALLOW policy matched: shop/who\" rule=- source=shop/out identity=- destination=shop/b:8080 "
      "side=server count=";
  CHECK(eventually(seconds(5), [&] { return counted(never) == 10 && counted(who) == 3; }));
}

TEST_CASE("dry run and AUDIT count, and deny nothing") {
  Scene scene;
  const auto to = scene.target(AF_INET, 8080);
  scene.put(dry_run("dry-deny", R"({"action": "DENY", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]})") +
                dry_run("dry-allow", R"({"rules": [{"from": [{"source": {"serviceAccounts": ["shop/front"]}}]}]})") +
                dry_run("dry-nothing", "{}") + policy("seen", R"({"action": "AUDIT", "rules": [{}]})"),
            "seen");
  for (int i = 0; i < 4; ++i) CHECK(scene.dial("a", to));
  for (int i = 0; i < 3; ++i) CHECK(scene.dial("c", to));
  const auto dry = [&](const char* policy, const char* side) {
    return scene.metric("underpass_dry_run_denied_total",
                        {std::string("policy=\"") + policy + "\"", std::string("side=\"") + side + "\""});
  };
  // In connect(), and again where the SYN arrives.
  for (const char* side : {"client", "server"}) {
    CAPTURE(side);
    CHECK(dry("shop/dry-deny", side) == 7);
    CHECK(dry("", side) == 3);  // a dry-run ALLOW matches a
    CHECK(scene.metric("underpass_audited_total", {"policy=\"shop/seen\"", std::string("side=\"") + side}) == 7);
  }
  CHECK(scene.policy_cell("dry-allow", "dryRunDenied") == 6);
  CHECK(scene.policy_cell("dry-nothing", "dryRunDenied") == 6);
  CHECK(scene.policy_cell("dry-deny", "dryRunDenied") == 14);
  CHECK(scene.policy_cell("seen", "audited") == 14);
  CHECK(scene.policy_cell("seen", "denied") == 0);
  CHECK(scene.metric("underpass_denied_total", {"policy="}) == 0);
  CHECK(scene.denied().empty());
}

}  // namespace
}  // namespace underpass::test
