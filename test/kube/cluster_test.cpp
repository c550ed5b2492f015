// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder stand on: the cluster that KubeCluster starts is a real one, with real refusals.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <csignal>
#include <set>

#include "test/support/ctl.h"
#include "test/support/files.h"
#include "test/support/kube_cluster.h"
#include "test/support/objects.h"

namespace {

namespace json = boost::json;
using namespace underpass::test;

// One for the cases that leave it as it was; made when the first asks.
KubeCluster& shared() {
  static KubeCluster cluster;
  return cluster;
}

// The status of the answer, and nothing else: "200", "401", "403"; "000" where none came.
std::string status_of(const KubeCluster& cluster, const std::string& path, const std::string& token,
                      const std::vector<std::string>& more = {}) {
  std::vector<std::string> argv{"curl",         "--silent",   "--output", "/dev/null", "--write-out",
                                "%{http_code}", "--max-time", "10",       "--cacert",  cluster.ca()};
  if (!token.empty()) argv.insert(argv.end(), {"--header", "Authorization: Bearer " + token});
  argv.insert(argv.end(), more.begin(), more.end());
  argv.push_back(cluster.server() + path);
  return run({.argv = std::move(argv)}).out;
}

std::string account_yaml(const std::string& ns, const std::string& name) {
  return "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: " + name + ", namespace: " + ns + "}\n";
}

// `account` of namespace `ns` may read pods everywhere.
std::string reader_yaml(const std::string& ns, const std::string& account) {
  return "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: reader-" + ns +
         "}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get, list, watch]}]\n---\n"
         "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: reader-" +
         ns + "}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader-" + ns +
         "}\nsubjects: [{kind: ServiceAccount, name: " + account + ", namespace: " + ns + "}]\n";
}

PodObject pod(const std::string& ns, const std::string& name, const std::string& ip) {
  return {.ns = ns, .name = name, .node = "node-a", .ips = {ip}, .labels = {{"app", "web"}}, .ready = true};
}

std::string field(const KubeCluster& cluster, const std::vector<std::string>& what, const std::string& path) {
  std::vector<std::string> arguments{"get"};
  arguments.insert(arguments.end(), what.begin(), what.end());
  arguments.insert(arguments.end(), {"--ignore-not-found", "-o", "jsonpath={" + path + "}"});
  return cluster.kubectl(arguments);
}

constexpr const char* kPods = "/api/v1/pods";

}  // namespace

TEST_CASE("anonymous may ask for health alone") {
  if (skip_without_cluster("anonymous")) return;
  CHECK(status_of(shared(), "/readyz", "") == "200");
  CHECK(status_of(shared(), kPods, "") == "401");
}

TEST_CASE("a token without rights is refused, with rights it lists pods, and a wrong one is nobody's") {
  if (skip_without_cluster("tokens")) return;
  KubeCluster& cluster = shared();
  cluster.load({to_yaml(NamespaceObject{"rights"}), account_yaml("rights", "reader"), account_yaml("rights", "none")});
  cluster.apply(reader_yaml("rights", "reader"));
  const std::string token = cluster.token_of("rights", "reader");
  // The authoriser watches the bindings.
  CHECK(eventually(seconds(10), [&] { return status_of(cluster, kPods, token) == "200"; }));
  CHECK(status_of(cluster, "/api/v1/secrets", token) == "403");
  CHECK(status_of(cluster, kPods, cluster.token_of("rights", "none")) == "403");
  CHECK(status_of(cluster, kPods, token + "x") == "401");
  CHECK(status_of(cluster, kPods, cluster.token_of("rights", "reader", {.audiences = {"vault"}})) == "401");

  const Finished asked = cluster.try_kubectl({"--kubeconfig", cluster.kubeconfig_with(token), "get", "secrets"});
  CHECK(asked.exit.code == 1);
  CHECK(asked.err.find("system:serviceaccount:rights:reader") != std::string::npos);
}

TEST_CASE("a token that is bound to a pod ends with it") {
  if (skip_without_cluster("bound token")) return;
  KubeCluster& cluster = shared();
  const std::string of = to_yaml(pod("bound", "web", "10.1.1.1"));
  cluster.load({to_yaml(NamespaceObject{"bound"}), of});
  cluster.apply(reader_yaml("bound", "default"));
  const std::string token = cluster.token_of("bound", "default", {.pod = "web"});
  CHECK(eventually(seconds(10), [&] { return status_of(cluster, kPods, token) == "200"; }));
  cluster.remove({of});
  // What it has found valid it remembers for some seconds.
  CHECK(eventually(seconds(60), [&] { return status_of(cluster, kPods, token) == "401"; }));
}

TEST_CASE("a token expires") {
  if (skip_without_cluster("expiry")) return;
  KubeCluster& cluster = shared();
  CHECK(status_of(cluster, kPods, cluster.token_of("kube-system", "default", {.lifetime = seconds(600)})) == "403");
  CHECK(status_of(cluster, kPods, cluster.signed_token_of("kube-system", "default", seconds(-120))) == "401");
  // With the minute that the server allows, five seconds are left.
  const std::string brief = cluster.signed_token_of("kube-system", "default", seconds(-55));
  CHECK(status_of(cluster, kPods, brief) == "403");
  CHECK(eventually(seconds(30), [&] { return status_of(cluster, kPods, brief) == "401"; }));
}

TEST_CASE("client certificates: a user's groups count, and an expired one is nobody") {
  if (skip_without_cluster("certificates")) return;
  KubeCluster& cluster = shared();
  const auto ask = [&](const fs::path& kubeconfig) {
    return cluster.try_kubectl({"--kubeconfig", kubeconfig, "get", "pods"});
  };
  CHECK(ask(cluster.certificate_of("root", {"system:masters"})).exit.ok());
  CHECK(ask(cluster.certificate_of("eve", {"guests"})).err.find("Forbidden") != std::string::npos);
  CHECK(ask(cluster.certificate_of("old", {"system:masters"}, seconds(-60))).err.find("Unauthorized") !=
        std::string::npos);
}

TEST_CASE("what a container finds of its account opens the API, and can be renewed") {
  if (skip_without_cluster("in-cluster")) return;
  KubeCluster& cluster = shared();
  const InCluster place = cluster.in_cluster("kube-system", "default");
  CHECK(read_file(place.folder / "namespace") == "kube-system");
  CHECK(read_file(place.folder / "ca.crt") == read_file(cluster.ca()));
  CHECK(place.env.at(1) == "KUBERNETES_SERVICE_PORT=" + std::to_string(cluster.port()));
  CHECK(status_of(cluster, kPods, read_file(place.folder / "token")) == "403");
  KubeCluster::replace_token(place.folder / "token", "wrong");
  CHECK(status_of(cluster, kPods, read_file(place.folder / "token")) == "401");
  CHECK(read_file(place.folder / "namespace") == "kube-system");

  const fs::path kubeconfig = cluster.kubeconfig_with(cluster.token_of("kube-system", "default"), true);
  const auto answer = [&] { return cluster.try_kubectl({"--kubeconfig", kubeconfig, "get", "pods"}).err; };
  CHECK(answer().find("Forbidden") != std::string::npos);
  KubeCluster::replace_token(fs::path(kubeconfig).replace_extension(".token"), "wrong");
  CHECK(answer().find("logged in") != std::string::npos);
}

TEST_CASE("objects are loaded with their status, replaced, ended with grace and removed") {
  if (skip_without_cluster("load")) return;
  KubeCluster& cluster = shared();
  PodObject web = pod("load", "web", "10.1.2.1");
  const std::vector<Loaded> made =
      cluster.load({to_yaml(web), to_yaml(NamespaceObject{"load"}), to_yaml(NodeObject{"node-a", {"192.0.2.1"}})});
  REQUIRE(made.size() == 3);
  CHECK(made[0].kind == "Pod");
  CHECK(made[2].name == "node-a");
  CHECK(made[0].uid == field(cluster, {"pod", "web", "-n", "load"}, ".metadata.uid"));
  CHECK(field(cluster, {"pod", "web", "-n", "load"}, ".status.podIPs[*].ip") == "10.1.2.1");
  CHECK(field(cluster, {"pod", "web", "-n", "load"}, ".status.conditions[?(@.type==\"Ready\")].status") == "True");
  CHECK(field(cluster, {"node", "node-a"}, ".status.addresses[0].address") == "192.0.2.1");

  web.labels = {{"tier", "front"}};
  web.ips = {"10.1.2.2"};
  CHECK(cluster.load({to_yaml(web)})[0].uid == made[0].uid);
  CHECK(field(cluster, {"pod", "web", "-n", "load"}, ".metadata.labels") == R"({"tier":"front"})");
  CHECK(field(cluster, {"pod", "web", "-n", "load"}, ".status.podIPs[*].ip") == "10.1.2.2");

  cluster.remove({to_yaml(web)}, seconds(30));
  CHECK_FALSE(field(cluster, {"pod", "web", "-n", "load"}, ".metadata.deletionTimestamp").empty());
  cluster.remove({to_yaml(web)});
  CHECK(field(cluster, {"pod", "web", "-n", "load"}, ".metadata.name").empty());
  CHECK_THROWS_WITH_AS(cluster.load({to_yaml(pod("nowhere", "web", "10.1.2.3"))}), doctest::Contains("nowhere"),
                       std::runtime_error);
}

TEST_CASE("hundreds of pods, each once, and changes among them") {
  if (skip_without_cluster("many")) return;
  KubeCluster& cluster = shared();
  std::vector<std::string> documents{to_yaml(NamespaceObject{"many"}), to_yaml(NodeObject{"node-a", {"192.0.2.1"}})};
  for (int i = 0; i < 300; ++i)
    documents.push_back(to_yaml(
        pod("many", "p" + std::to_string(i), "10.2." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1))));
  const auto start = Clock::now();
  std::set<std::string> uids;
  for (const Loaded& one : cluster.load(documents)) uids.insert(one.uid);
  MESSAGE("302 objects in ", std::chrono::duration<double>(Clock::now() - start).count(), " s");
  CHECK(uids.size() == documents.size());
  const json::value done = json::parse(run_ok(
      cluster.churn({"--rate", "50", "--duration", "2s", "--kinds", "labels,readiness", "--selector", "app=web"})));
  CHECK_MESSAGE(done.at("errors").to_number<int>() == 0, json::serialize(done));
  CHECK(done.at("labels").to_number<int>() + done.at("readiness").to_number<int>() == 100);
  cluster.load({to_yaml(EndpointSliceObject{
      .ns = "many", .name = "own", .service = "own", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.2.0.1"}}})});
  const json::value slices =
      json::parse(run_ok(cluster.churn({"--rate", "50", "--duration", "1s", "--kinds", "slices"})));
  CHECK_MESSAGE(slices.at("slices").to_number<int>() == 50, json::serialize(slices));
  CHECK_FALSE(field(cluster, {"pods", "-n", "many", "-l", "churn"}, ".items[0].metadata.name").empty());
}

TEST_CASE("controllers: a slice follows its pods, an owner takes its dependents along, a namespace ends") {
  if (skip_without_cluster("controllers")) return;
  KubeCluster& cluster = shared();
  const std::string web = to_yaml(pod("follow", "web", "10.1.3.1"));
  cluster.load(
      {to_yaml(NamespaceObject{"follow"}), to_yaml(NodeObject{"node-a", {"192.0.2.1"}}), web,
       to_yaml(ServiceObject{.ns = "follow", .name = "web", .ports = {{.port = 80}}, .selector = {{"app", "web"}}})});
  const auto endpoints = [&] {
    return field(cluster, {"endpointslices", "-n", "follow"}, ".items[*].endpoints[*].addresses[*]");
  };
  CHECK(eventually(seconds(20), [&] { return endpoints() == "10.1.3.1"; }));
  CHECK(eventually(seconds(20), [&] {
    return field(cluster, {"configmap", "kube-root-ca.crt", "-n", "follow"}, ".data.ca\\.crt") + "\n" ==
           read_file(cluster.ca()) + "\n";
  }));
  cluster.kubectl({"delete", "service", "web", "-n", "follow"});
  CHECK(eventually(seconds(30), [&] { return endpoints().empty(); }));
  cluster.kubectl({"delete", "namespace", "follow", "--wait=false"});
  // A pod of a node waits for its kubelet, and the namespace for the pod.
  const auto leaves = [&] { return field(cluster, {"pod", "web", "-n", "follow"}, ".metadata.deletionTimestamp"); };
  CHECK(eventually(seconds(20), [&] { return !leaves().empty(); }));
  cluster.remove({web});
  CHECK(eventually(seconds(60), [&] { return field(cluster, {"namespace", "follow"}, ".metadata.name").empty(); }));
}

TEST_CASE("kustomize and plain folders are applied, and a new kind is served") {
  if (skip_without_cluster("manifests")) return;
  KubeCluster& cluster = shared();
  const fs::path folder = cluster.root() / "manifests";
  fs::create_directories(folder / "kustomized");
  const std::string crd =
      "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.test.example}\n"
      "spec:\n  group: test.example\n  scope: Namespaced\n  names: {kind: Thing, plural: things, singular: thing}\n"
      "  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n"
      "        type: object\n        properties: {spec: {type: object, properties: {size: {type: integer}}}}\n";
  write_atomically(folder / "crd.yaml", crd);
  write_atomically(folder / "kustomized" / "account.yaml", account_yaml("default", "kustomized"));
  write_atomically(folder / "kustomized" / "kustomization.yaml", "namePrefix: so-\nresources: [account.yaml]\n");

  const std::string thing =
      "apiVersion: test.example/v1\nkind: Thing\nmetadata: {name: one, namespace: default}\nspec: {size: 3}\n";
  CHECK_THROWS_AS(cluster.apply(thing), std::runtime_error);
  cluster.apply_path(folder);
  cluster.kubectl({"wait", "--for=condition=Established", "crd/things.test.example", "--timeout=30s"});
  cluster.apply(thing);
  CHECK(field(cluster, {"thing", "one"}, ".spec.size") == "3");
  CHECK_THROWS_AS(cluster.apply(thing + "  size: many\n"), std::runtime_error);
  cluster.apply_path(folder / "kustomized");
  CHECK(field(cluster, {"serviceaccount", "so-kustomized"}, ".metadata.name") == "so-kustomized");
}

TEST_CASE("outages: killed or paused, the servers come back at the same port with the same objects") {
  if (skip_without_cluster("outages")) return;
  KubeCluster cluster({.controllers = false});
  cluster.load({to_yaml(NamespaceObject{"kept"}), account_yaml("kept", "reader")});
  const std::string uid = field(cluster, {"namespace", "kept"}, ".metadata.uid");
  const std::string token = cluster.token_of("kept", "reader");
  const int port = cluster.port();

  cluster.kill_apiserver();
  CHECK(status_of(cluster, kPods, token) == "000");
  cluster.start_apiserver();
  CHECK(cluster.port() == port);
  CHECK(field(cluster, {"namespace", "kept"}, ".metadata.uid") == uid);
  CHECK(status_of(cluster, kPods, token) == "403");

  cluster.pause_apiserver();
  CHECK(status_of(cluster, kPods, token, {"--max-time", "1"}) == "000");
  cluster.resume_apiserver();
  CHECK(status_of(cluster, kPods, token) == "403");

  cluster.kill_etcd();
  CHECK(eventually(seconds(10), [&] { return status_of(cluster, "/readyz", "", {"--max-time", "3"}) != "200"; }));
  cluster.start_etcd();
  cluster.wait_ready();
  CHECK(field(cluster, {"namespace", "kept"}, ".metadata.uid") == uid);
}

TEST_CASE("nothing stays: processes, folder") {
  if (skip_without_cluster("nothing stays")) return;
  fs::path root;
  std::vector<pid_t> pids;
  {
    const KubeCluster cluster({.controllers = false});
    root = cluster.root();
    pids = {cluster.apiserver_pid(), cluster.etcd_pid()};
    for (const pid_t pid : pids) CHECK(::kill(pid, 0) == 0);
  }
  CHECK_FALSE(fs::exists(root));
  for (const pid_t pid : pids) CHECK(::kill(pid, 0) != 0);
}
