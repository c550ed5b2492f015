// SPDX-License-Identifier: Apache-2.0
// manifests/ as they are, on a real API server with RBAC and pod security: it takes each kustomization, lets the pods
// of both workloads in, and is rid of everything again.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "test/kube/scene.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

const fs::path kManifests = UNDERPASS_MANIFESTS;

// What a workload's controller would make of its template.
json::object pod_of(const json::value& workload) {
  json::object pod = workload.at_pointer("/spec/template").as_object();
  pod["apiVersion"] = "v1";
  pod["kind"] = "Pod";
  pod["metadata"].as_object()["name"] = "by-hand";
  return pod;
}

json::object pod_of(const KubeCluster& cluster, const std::string& workload) {
  return pod_of(json::parse(cluster.kubectl({"get", workload, "-n", kAgentNamespace, "-o", "json"})));
}

Finished try_pod(const KubeCluster& cluster, const json::object& pod, const std::string& ns) {
  return cluster.try_kubectl({"create", "-n", ns, "--dry-run=server", "-f", "-"}, json::serialize(pod));
}

void check_let_in(const KubeCluster& cluster, const json::object& pod) {
  const auto created = try_pod(cluster, pod, kAgentNamespace);
  CHECK_MESSAGE(created.exit.ok(), created.err);
  CHECK_MESSAGE(created.err.empty(), created.err);  // no warning
}

// Names of all kinds that the manifests, an agent or a controller make.
std::vector<std::string> what_is_there(const KubeCluster& cluster) {
  const std::string kinds =
      "customresourcedefinitions,clusterroles,clusterrolebindings,namespaces,validatingadmissionpolicies,"
      "validatingadmissionpolicybindings,certificatesigningrequests,secrets,configmaps,leases,serviceaccounts,roles,"
      "rolebindings,networkpolicies,poddisruptionbudgets,daemonsets,deployments";
  std::istringstream lines(cluster.kubectl({"get", kinds, "-A", "-o", "name"}));
  std::vector<std::string> out;
  for (std::string line; std::getline(lines, line);)
    if (line.contains("underpass")) out.push_back(line);
  return out;
}

// What agents, the controller and an operator leave in the cluster, and a request of somebody else's.
void leave_things_behind(const KubeCluster& cluster) {
  const fs::path file = cluster.root() / "left.csr";
  run_ok({.argv = {"openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                   "-keyout", cluster.root() / "left.key", "-out", file, "-subj", "/CN=x"}});
  const std::string request = run_ok({.argv = {"base64", "--wrap=0", file}});
  const auto csr = [&](const std::string& name, const std::string& signer) {
    return "---\napiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: " + name +
           "}\nspec: {signerName: " + signer + ", usages: [client auth], request: " + request + "}\n";
  };
  cluster.kubectl({"create", "-f", "-"}, R"(
apiVersion: v1
kind: Secret
metadata: {name: underpass-ca, namespace: underpass-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: underpass-trust-bundle, namespace: underpass-system}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: underpass-controller, namespace: underpass-system}
---
apiVersion: underpass.dev/v1alpha1
kind: Mesh
metadata: {name: default}
---
apiVersion: underpass.dev/v1alpha1
kind: NodeWorkloads
metadata: {name: n1.0}
spec: {node: n1, shard: 0}
)" + csr("underpass-1", "underpass.dev/workload") +
                                             csr("underpass-2", "underpass.dev/workload") +
                                             csr("other", "example.org/other"));
}

TEST_CASE("manifests: an API server is rid of everything, takes the base in whatever order, and lets the pods in") {
  if (skip_without_cluster("the manifests are applied")) return;
  const KubeCluster& kube = MeshCluster::battered().kube;
  leave_things_behind(kube);
  CHECK(what_is_there(kube).size() > 20);
  // As docs/kubernetes.md says.
  kube.kubectl({"delete", "daemonset", "-n", kAgentNamespace, kAgentName, "--cascade=foreground"});
  kube.kubectl({"delete", "-k", kManifests / "base", "--ignore-not-found", "--timeout=60s"}, "", seconds(90));
  kube.kubectl({"delete", "csr", "--field-selector", "spec.signerName=underpass.dev/workload"});
  for (const std::string& name : what_is_there(kube)) FAIL_CHECK(name);
  CHECK(kube.kubectl({"get", "csr", "-o", "name"}) == "certificatesigningrequest.certificates.k8s.io/other\n");
  kube.kubectl({"delete", "csr", "other"});

  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(kManifests / "base"))
    if (entry.path().filename() != "kustomization.yaml" && entry.path().filename() != "namespace.yaml")
      files.push_back(entry.path());
  std::ranges::sort(files, std::greater<>());
  std::vector<std::string> apply{"apply", "-f", kManifests / "base/namespace.yaml"};
  for (const std::string& file : files) apply.insert(apply.end(), {"-f", file});
  const auto applied = kube.try_kubectl(apply);
  CHECK_MESSAGE(applied.exit.ok(), applied.err);
  CHECK_MESSAGE(applied.err.empty(), applied.err);
  // The same once more, as kustomize has it.
  CHECK_FALSE(kube.kubectl({"apply", "-k", kManifests / "base"}).contains(" created"));
  for (const std::string workload : {"daemonset/underpass-agent", "deployment/underpass-controller"})
    check_let_in(kube, pod_of(kube, workload));

  // The namespace's own label lets the agent in: others do not. The controller needs nothing.
  kube.kubectl({"create", "-f", "-"}, R"(
apiVersion: v1
kind: Namespace
metadata: {name: restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: underpass-agent, namespace: restricted}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: underpass-controller, namespace: restricted}
)");
  const auto agent = try_pod(kube, pod_of(kube, "daemonset/underpass-agent"), "restricted");
  CHECK_FALSE(agent.exit.ok());
  CHECK_MESSAGE(agent.err.contains("violates PodSecurity"), agent.err);
  const auto controller = try_pod(kube, pod_of(kube, "deployment/underpass-controller"), "restricted");
  CHECK_MESSAGE(controller.exit.ok(), controller.err);
  kube.kubectl({"delete", "namespace", "restricted", "--wait=false"});
}

// What the API server would have after it, with its defaults; nothing is changed.
Finished try_kustomization(const KubeCluster& cluster, const fs::path& folder) {
  return cluster.try_kubectl(
      {"apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "json", "-k", folder});
}

std::map<std::string, json::value> objects_of(const std::string& list) {
  std::map<std::string, json::value> out;
  for (const auto& item : json::parse(list).at("items").as_array())
    out.emplace(text_of(item.at("kind")) + "/" + text_of(item.at_pointer("/metadata/name")), item);
  return out;
}

TEST_CASE("manifests: an API server takes every overlay, and lets its pods in") {
  if (skip_without_cluster("overlays are applied")) return;
  const KubeCluster& kube = MeshCluster::shared().kube;
  const std::string budget = "PodDisruptionBudget/underpass-controller", strict = "PeerAuthentication/default";
  // It needs what it does not bring, and says so; all else is taken.
  const auto without =
      kube.try_kubectl({"apply", "--server-side", "--dry-run=server", "-k", kManifests / "overlays/strict"});
  CHECK_FALSE(without.exit.ok());
  CHECK_MESSAGE(without.err.contains("namespaces \"istio-system\" not found"), without.err);
  CHECK_MESSAGE(without.out.contains("daemonset.apps/underpass-agent serverside-applied"), without.out);

  kube.kubectl({"create", "namespace", "istio-system"});
  int overlays = 0;
  for (const auto& entry : fs::directory_iterator(kManifests / "overlays")) {
    const std::string name = entry.path().filename();
    CAPTURE(name);
    ++overlays;
    const auto applied = try_kustomization(kube, entry.path());
    CHECK_MESSAGE(applied.exit.ok(), applied.err);
    CHECK_MESSAGE(applied.err.empty(), applied.err);
    const auto objects = objects_of(applied.out);
    const auto& agent = objects.at("DaemonSet/underpass-agent");
    const auto& controller = objects.at("Deployment/underpass-controller");
    for (const auto& workload : {agent, controller}) check_let_in(kube, pod_of(workload));
    CHECK(controller.at_pointer("/spec/replicas") == json::value(name == "minimal" ? 1 : 2));
    CHECK(objects.contains(budget) == (name != "minimal"));  // of one replica it would keep a node from being drained
    CHECK(objects.contains("NetworkPolicy/default-deny-ingress") == (name != "minimal"));
    CHECK(objects.contains(strict) == (name == "strict"));
    const std::string arguments = json::serialize(agent.at_pointer("/spec/template/spec/containers/0/args"));
    CHECK(arguments.contains("--cni=off") == (name == "no-cni"));
    CHECK(arguments.contains("--unknown-pods=deny") == (name == "no-cni"));
    CHECK(arguments.contains("--cgroup-root=") == (name == "kind"));
    CHECK(arguments.contains("--instance=$(POD_UID)"));
  }
  CHECK(overlays == 4);
  kube.kubectl({"delete", "namespace", "istio-system", "--wait=false"});
}

TEST_CASE("manifests: Grafana's component puts the dashboards where its sidecar looks for them") {
  if (skip_without_cluster("a component is applied")) return;
  const KubeCluster& kube = MeshCluster::shared().kube;
  const fs::path overlay = kube.root() / "overlay";
  fs::create_directories(overlay);
  write_atomically(overlay / "kustomization.yaml",
                   "resources: [" + fs::relative(kManifests / "base", overlay).string() + "]\ncomponents: [" +
                       fs::relative(kManifests / "components/grafana", overlay).string() + "]\n");
  const auto applied = try_kustomization(kube, overlay);
  CHECK_MESSAGE(applied.exit.ok(), applied.err);
  const auto objects = objects_of(applied.out);
  CHECK(objects.contains("DaemonSet/underpass-agent"));
  const auto& dashboard = objects.at("ConfigMap/underpass-dashboard");
  CHECK(dashboard.at_pointer("/metadata/namespace") == json::value(kAgentNamespace));
  CHECK(dashboard.at_pointer("/metadata/labels/grafana_dashboard") == json::value("1"));
  CHECK(json::parse(text_of(dashboard.at_pointer("/data/underpass.json"))).at("uid") == json::value("underpass"));
}

}  // namespace
}  // namespace underpass::test
