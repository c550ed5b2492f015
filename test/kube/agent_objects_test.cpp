// SPDX-License-Identifier: Apache-2.0
// Policies, Services and definitions of a real API server, good and bad, as a node's agent puts them in force.
#include <doctest/doctest.h>

#include <algorithm>

#include "test/kube/scene.h"
#include "test/netns/services/client.h"
#include "test/netns/services/responder.h"
#include "test/support/sockets.h"
#include "test/support/world.h"

namespace underpass::test {
namespace {

constexpr std::uint16_t kTarget = 8080;

std::string allow(const std::string& account, const std::string& more = "") {
  return R"({"action": "ALLOW", "rules": [{"from": [{"source": {"serviceAccounts": [")" + account + R"("]}}]}])" +
         more + "}";
}

void make_accounts(MeshCluster& cluster, const std::string& ns, const std::vector<std::string>& names) {
  std::vector<std::string> documents;
  for (const std::string& name : names)
    documents.push_back("apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: " + ns + ", name: " + name +
                        "}\n");
  cluster.kube.load(documents);
}

// A pod with an account of its own name.
void run_as_itself(KubeNode& node, const std::string& ns, const std::string& name) {
  PodObject object = node.pod(ns, name);
  object.service_account = name;
  node.run(object);
  node.wait_enrolled(name);
}

// "active", "stale", "refused"; empty: there is none of this name.
std::string state_of_policy(const KubeNode& node, const std::string& name) {
  for (const auto& row : node.ctl.json({"policies"}).as_array())
    if (text_of(row.at("name")) == name) return text_of(row.at("state"));
  return "";
}

bool eventually_allowed(const KubeNode& node, const std::string& pod, const std::string& other, const Address& to) {
  return eventually(seconds(10), [&] { return node.dial(pod, to).empty() && !node.dial(other, to).empty(); });
}

bool eventually_told(const KubeNode& node, const std::string& ns, const std::string& name, const std::string& text) {
  return eventually(seconds(10), [&] {
    const auto events = node.cluster.events_about("AuthorizationPolicy", ns, name);
    return std::ranges::any_of(events, [&](const std::string& event) { return event.contains(text); });
  });
}

TEST_CASE("a policy of the API is in force, a change of it cuts, and a bad version leaves the last good one") {
  if (skip_without_cluster("policies")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "policy");
  make_accounts(cluster, "policy", {"server", "web", "evil"});
  KubeNode node(cluster);
  node.start();
  for (const char* name : {"server", "web", "evil"}) run_as_itself(node, "policy", name);
  const UniqueFd listener = listen_at(node.at("server"), AF_INET);
  const Address to = local_address(listener.get());
  cluster.put_policy("policy", "who", allow("web"));
  REQUIRE(eventually_allowed(node, "web", "evil", to));
  CHECK(state_of_policy(node, "who") == "active");

  const Pair live = make_pair_between(node.at("web"), node.at("server"), AF_INET);
  exchange(live.client.get(), live.server.get());
  cluster.put_policy("policy", "who", allow("evil"));
  CHECK(eventually_allowed(node, "evil", "web", to));
  CHECK(ends_with_error(live.client.get(), seconds(10)));

  SUBCASE("a value that does not parse") {
    cluster.put_policy("policy", "who", R"({"rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.0/33"]}}]}]})");
    CHECK(eventually_told(node, "policy", "who", "rules[0].from[0].source.ipBlocks[0]"));
  }
  SUBCASE("a field that nobody knows") {
    cluster.put_policy("policy", "who", allow("web", R"(, "newThing": {"a": 1})"));
    CHECK(eventually_told(node, "policy", "who", "newThing"));
  }
  CHECK(eventually_told(node, "policy", "who", "the last good version stays in force"));
  CHECK(state_of_policy(node, "who") == "stale");
  CHECK(node.state() == "degraded");
  CHECK(node.readiness().ends_with("200"));
  CHECK(eventually_allowed(node, "evil", "web", to));

  cluster.put_policy("policy", "who", allow("web"));
  CHECK(eventually_allowed(node, "web", "evil", to));
  CHECK(node.state() == usual_state());
  // One that was never good closes its scope.
  cluster.put_policy("policy", "new", R"({"rules": [{"newThing": 1}]})");
  CHECK(eventually(seconds(10), [&] { return !node.dial("web", to).empty() && !node.dial("evil", to).empty(); }));
  CHECK(state_of_policy(node, "new") == "refused");
  CHECK(eventually_told(node, "policy", "new", "Refused: "));
  cluster.remove_policy("policy", "new");
  CHECK(eventually_allowed(node, "web", "evil", to));
  cluster.remove_policy("policy", "who");
  CHECK(eventually(seconds(10), [&] { return node.dial("evil", to).empty(); }));
}

// The address of a Service as the API server has given it.
Address made_service(MeshCluster& cluster, const ServiceObject& service) {
  cluster.kube.load({to_yaml(service)});
  return Address::of(
      text_of(cluster.get("/api/v1/namespaces/" + service.ns + "/services/" + service.name).at("spec").at("clusterIP")),
      80);
}

ServiceObject service(const std::string& ns, const std::string& name, const Strings& selector) {
  return {.ns = ns, .name = name, .ports = {{.port = 80, .target = std::to_string(kTarget)}}, .selector = selector};
}

TEST_CASE("Services are dialled by the slices that the cluster's controllers make, whatever else an object carries") {
  if (skip_without_cluster("Services")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "serving");
  KubeNode node(cluster);
  // As much as the API server takes of annotations.
  const std::string ballast(262'000, 'x');
  PodObject web = node.pod("serving", "web");
  web.annotations = {{"ballast", ballast}};
  node.run(web);
  node.run(node.pod("serving", "client"));
  node.run(node.pod("serving", "other"));
  node.start();
  for (const char* name : {"web", "client", "other"}) node.wait_enrolled(name);
  const Responder of_web(node.at("web"), kTarget, "web");
  const Responder of_other(node.at("other"), kTarget, "other");

  ServiceObject object = service("serving", "web", {{"app", "web"}});
  object.annotations = {{"ballast", ballast}};
  const Address at = made_service(cluster, object);
  const auto who = [&](const Address& address) { return who_answers(node.at("client"), address, 4); };
  CHECK(eventually(seconds(15), [&] { return who(at) == std::set<std::string>{"web"}; }));
  object.selector = {{"app", "other"}};
  CHECK(made_service(cluster, object).to_string() == at.to_string());
  CHECK(eventually(seconds(15), [&] { return who(at) == std::set<std::string>{"other"}; }));

  object.annotations = {{"ballast", std::string(1'000'000, 'x')}};
  CHECK_THROWS_WITH(cluster.kube.load({to_yaml(object)}), doctest::Contains("Too long"));  // by the API server
}

KubeCluster::Options without_controllers() {
  KubeCluster::Options options;
  options.controllers = false;
  return options;
}

TEST_CASE("a definition that is installed later is taken up, one that goes takes its policies along") {
  if (skip_without_cluster("definitions come and go")) return;
  MeshCluster cluster(MeshCluster::Istio::kAbsent, without_controllers());
  cluster.put(kInMesh, "later");
  make_accounts(cluster, "later", {"default", "server", "web", "evil"});
  KubeNode node(cluster);
  node.start();
  for (const char* name : {"server", "web", "evil"}) run_as_itself(node, "later", name);
  CHECK(node.kind("AuthorizationPolicy").at("path").is_null());
  CHECK(node.kind("AuthorizationPolicy").at("synced").as_bool());
  CHECK(node.readiness().ends_with("200"));

  const UniqueFd listener = listen_at(node.at("server"), AF_INET);
  const Address to = local_address(listener.get());
  cluster.apply_istio("authorizationpolicies");
  cluster.put_policy("later", "who", allow("web"));
  CHECK(eventually_allowed(node, "web", "evil", to));
  CHECK(text_of(node.kind("AuthorizationPolicy").at("path")).contains("security.istio.io"));
  CHECK(node.state() == usual_state());

  cluster.kube.kubectl({"delete", "crd", "authorizationpolicies.security.istio.io"});
  CHECK(eventually(seconds(15), [&] { return node.dial("evil", to).empty(); }));
  CHECK(eventually(seconds(15), [&] { return node.kind("AuthorizationPolicy").at("path").is_null(); }));
  CHECK(eventually(seconds(15), [&] { return node.state() == usual_state(); }));
  cluster.apply_istio("authorizationpolicies");
  cluster.put_policy("later", "who", allow("web"));
  CHECK(eventually_allowed(node, "web", "evil", to));

  // No controller makes slices here, and the agent makes none up.
  const Responder responder(node.at("server"), kTarget, "server");
  const Address at = made_service(cluster, service("later", "lonely", {{"app", "server"}}));
  CHECK(eventually(seconds(10),
                   [&] { return who_answers(node.at("web"), at, 1) == std::set<std::string>{"Connection refused"}; }));
}

}  // namespace
}  // namespace underpass::test
