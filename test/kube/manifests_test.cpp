// SPDX-License-Identifier: Apache-2.0
// manifests/ as they are, on a real API server with RBAC and pod security: it takes them, lets the agent's pod in,
// gives the agent its rights and no others, and takes the Meshes that the decoder takes.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/support/files.h"
#include "test/support/kube_cluster.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

const fs::path kManifests = UNDERPASS_MANIFESTS;
const fs::path kHere = UNDERPASS_KUBE_TESTS;
constexpr const char* kNamespace = "underpass-system";

KubeCluster::Options usual() {
  KubeCluster::Options options;
  options.apiserver = {"--allow-privileged=true"};  // as kubeadm has it; the overlay for kind needs it
  return options;
}

void apply_kustomization(const KubeCluster& cluster, const std::string& folder) {
  cluster.kubectl({"apply", "-k", kManifests / folder});
  cluster.kubectl({"wait", "--for=condition=Established", "--timeout=30s", "crd/meshes.underpass.dev"});
}

// What the DaemonSet's controller would make of its template.
json::object pod_of_daemon_set(const KubeCluster& cluster) {
  auto set = json::parse(cluster.kubectl({"get", "daemonset", "underpass-agent", "-n", kNamespace, "-o", "json"}));
  auto& pod = set.at_pointer("/spec/template").as_object();
  pod["apiVersion"] = "v1";
  pod["kind"] = "Pod";
  pod["metadata"].as_object()["name"] = "agent-by-hand";
  return pod;
}

Finished create_pod(const KubeCluster& cluster, const json::object& pod, const std::string& ns) {
  return cluster.try_kubectl({"create", "-n", ns, "-f", "-"}, json::serialize(pod));
}

TEST_CASE("manifests: an API server takes them, lets the agent's pod in, and is rid of them again") {
  if (skip_without_cluster("the manifests are applied")) return;
  const KubeCluster cluster(usual());
  for (const std::string folder : {"overlays/kind", "overlays/no-cni", "base"}) {
    CAPTURE(folder);
    apply_kustomization(cluster, folder);
    const auto pod = pod_of_daemon_set(cluster);
    const auto created = create_pod(cluster, pod, kNamespace);
    CHECK_MESSAGE(created.exit.ok(), created.err);
    CHECK(created.err.empty());  // no warning
    cluster.kubectl({"delete", "pod", "agent-by-hand", "-n", kNamespace, "--force", "--grace-period=0"});
  }
  // The namespace's own label lets it in: others do not.
  cluster.kubectl({"create", "namespace", "other"});
  cluster.kubectl({"label", "namespace", "other", "pod-security.kubernetes.io/enforce=baseline"});
  cluster.kubectl({"create", "serviceaccount", "underpass-agent", "-n", "other"});
  const auto elsewhere = create_pod(cluster, pod_of_daemon_set(cluster), "other");
  CHECK(!elsewhere.exit.ok());
  CHECK_MESSAGE(elsewhere.err.contains("violates PodSecurity"), elsewhere.err);

  cluster.kubectl({"delete", "-k", kManifests / "base", "--timeout=60s"}, "", seconds(90));
  for (const std::string kind : {"customresourcedefinitions", "clusterroles", "clusterrolebindings", "namespaces"})
    CHECK(!cluster.kubectl({"get", kind, "-o", "name"}).contains("underpass"));
}

struct Access {
  std::string verb;
  std::string group;
  std::string resource;
  std::string ns{};           // empty: all
  std::string subresource{};  // "status"
  std::string name{};         // empty: any

  [[nodiscard]] std::string text() const {
    return verb + " " + group + "/" + resource + "/" + subresource + " " + ns + "/" + name;
  }
};

constexpr const char* kUser = "system:serviceaccount:underpass-system:underpass-agent";

json::value review(const Access& access) {
  return {{"apiVersion", "authorization.k8s.io/v1"},
          {"kind", "SubjectAccessReview"},
          {"spec",
           {{"user", kUser},
            {"groups", {"system:serviceaccounts", "system:serviceaccounts:underpass-system", "system:authenticated"}},
            {"resourceAttributes",
             {{"verb", access.verb},
              {"group", access.group},
              {"resource", access.resource},
              {"namespace", access.ns},
              {"subresource", access.subresource},
              {"name", access.name}}}}}};
}

// What the API server's authorizers say to each, all in one request to kubectl.
void check_access(const KubeCluster& cluster, const std::vector<Access>& all, bool allowed) {
  json::array items;
  for (const auto& access : all) items.push_back(review(access));
  const json::value list{{"apiVersion", "v1"}, {"kind", "List"}, {"items", items}};
  std::istringstream lines(cluster.kubectl(
      {"create", "-f", "-", "-o", "jsonpath={.spec.resourceAttributes.resource} {.status.allowed}{\"\\n\"}"},
      json::serialize(list)));
  for (const auto& access : all) {
    std::string line;
    std::getline(lines, line);
    CHECK_MESSAGE(line == access.resource + (allowed ? " true" : " false"), access.text() << ": " << line);
  }
}

TEST_CASE("manifests: what the agent may do in the cluster, and what not") {
  if (skip_without_cluster("the agent's rights")) return;
  const KubeCluster cluster(usual());
  apply_kustomization(cluster, "base");

  const std::string crds = "customresourcedefinitions", sets = "daemonsets", own = "underpass-agent";
  std::vector<Access> allowed{
      {"list", "apiextensions.k8s.io", crds},
      {"watch", "apiextensions.k8s.io", crds},
      {"create", "events.k8s.io", "events"},
      {"get", "apps", sets, kNamespace, "", own},
  };
  std::vector<Access> forbidden{
      {"get", "", "secrets"},
      {"list", "", "secrets"},
      {"list", "", "configmaps"},
      {"list", "", "serviceaccounts"},
      {"get", "apiextensions.k8s.io", crds},
      {"create", "", "pods", kNamespace, "exec"},
      {"get", "", "pods", "", "log"},
      {"create", "", "serviceaccounts", kNamespace, "token"},
      {"impersonate", "", "users"},
      {"create", "", "events"},  // of the older API
      {"patch", "events.k8s.io", "events"},
      {"list", "events.k8s.io", "events"},
      {"list", "apps", sets},
      {"list", "apps", sets, kNamespace},
      {"get", "apps", sets, kNamespace, "", "other"},
      {"get", "apps", sets, "default", "", own},
      {"patch", "apps", sets, kNamespace, "", own},
      {"delete", "apps", sets, kNamespace, "", own},
  };
  const std::pair<std::string, std::string> read[] = {
      {"", "namespaces"},
      {"", "nodes"},
      {"", "pods"},
      {"", "services"},
      {"discovery.k8s.io", "endpointslices"},
      {"security.istio.io", "authorizationpolicies"},
      {"security.istio.io", "peerauthentications"},
      {"security.istio.io", "requestauthentications"},
      {"underpass.dev", "meshes"},
  };
  for (const auto& [group, resource] : read) {
    for (const auto* verb : {"get", "list", "watch"}) allowed.push_back({verb, group, resource});
    for (const auto* verb : {"create", "update", "patch", "delete", "deletecollection"})
      forbidden.push_back({verb, group, resource});
    forbidden.push_back({"update", group, resource, "", "status"});
  }
  check_access(cluster, allowed, true);
  check_access(cluster, forbidden, false);
}

TEST_CASE("manifests: the agent lists and watches its own DaemonSet by its name, and no others") {
  if (skip_without_cluster("the agent's own DaemonSet")) return;
  const KubeCluster cluster(usual());
  apply_kustomization(cluster, "base");
  const auto ask = [&](const std::string& query) {
    return cluster.try_kubectl(
        {"get", "--raw", "/apis/apps/v1/namespaces/underpass-system/daemonsets" + query, std::string("--as=") + kUser});
  };
  CHECK(ask("?fieldSelector=metadata.name%3Dunderpass-agent").out.contains("\"name\":\"underpass-agent\""));
  CHECK(ask("?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dunderpass-agent").exit.ok());
  CHECK(ask("").err.contains("forbidden"));
  CHECK(ask("?watch=1&timeoutSeconds=1").err.contains("forbidden"));
  CHECK(ask("?fieldSelector=metadata.name%3Dother").err.contains("forbidden"));
}

std::vector<fs::path> meshes(const std::string& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(kHere / "meshes" / folder)) out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

TEST_CASE("manifests: the API server and the table of Meshes") {
  if (skip_without_cluster("the schema of Mesh")) return;
  const KubeCluster cluster(usual());
  apply_kustomization(cluster, "base");

  const auto good = meshes("good"), bad = meshes("bad");
  CHECK(good.size() > 10);
  CHECK(bad.size() > 30);
  for (const auto& path : good) {
    const auto created = cluster.try_kubectl({"create", "-f", path});
    CHECK_MESSAGE(created.exit.ok(), path.string() << ": " << created.err);
    cluster.try_kubectl({"delete", "mesh", "default", "--ignore-not-found"});
  }
  for (const auto& path : bad) {
    constexpr std::string_view kAt = "\n# at: ";
    const auto text = read_file(path);
    const auto from = text.find(kAt) + kAt.size();
    const auto at = text.substr(from, text.find('\n', from) - from);
    const auto created = cluster.try_kubectl({"create", "-f", path});
    CHECK_MESSAGE(!created.exit.ok(), path.string());
    CHECK_MESSAGE(created.err.contains(at), path.string() << ": " << created.err);
  }
}

TEST_CASE("manifests: the stand-ins for Istio's kinds serve both versions") {
  if (skip_without_cluster("the stand-ins")) return;
  const KubeCluster cluster(usual());
  cluster.kubectl({"apply", "-f", kHere / "crds"});
  cluster.kubectl({"wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"});
  const json::value policy{{"apiVersion", "security.istio.io/v1"},
                           {"kind", "PeerAuthentication"},
                           {"metadata", {{"name", "strict"}, {"namespace", "default"}}},
                           {"spec", {{"mtls", {{"mode", "STRICT"}}}}}};
  cluster.kubectl({"create", "-f", "-"}, json::serialize(policy));
  for (const std::string version : {"v1", "v1beta1"}) {
    const auto path = "/apis/security.istio.io/" + version + "/namespaces/default/";
    const auto found = json::parse(cluster.kubectl({"get", "--raw", path + "peerauthentications/strict"}));
    CHECK(found.at("apiVersion") == json::value("security.istio.io/" + version));
    CHECK(found.at("spec") == policy.at("spec"));
    for (const std::string other : {"authorizationpolicies", "requestauthentications"})
      CHECK(cluster.try_kubectl({"get", "--raw", path + other}).exit.ok());
  }
}

TEST_CASE("manifests: a Mesh as operators see it") {
  if (skip_without_cluster("the columns of Mesh")) return;
  const KubeCluster cluster(usual());
  apply_kustomization(cluster, "base");
  cluster.kubectl({"create", "-f", kHere / "meshes/good/nothing.yaml"});
  const auto shown = cluster.kubectl({"get", "meshes"});
  CHECK_MESSAGE(shown.starts_with("NAME      TRUST DOMAIN    ISOLATION   AGE\ndefault   cluster.local   namespace   "),
                shown);
  CHECK(cluster.kubectl({"get", "upmesh", "-o", "name"}) == "mesh.underpass.dev/default\n");
  CHECK(cluster.kubectl({"get", "underpass", "-o", "name"}) == "mesh.underpass.dev/default\n");
  // Every default of the schema is there to be read.
  const auto spec = json::parse(cluster.kubectl({"get", "mesh", "default", "-o", "jsonpath={.spec}"}));
  CHECK(spec == json::parse(R"({"trustDomain": "cluster.local", "rootNamespace": "istio-system",
      "isolation": "namespace", "proxy": {"threads": 2, "connectTimeout": "10s", "idleTimeout": "1h",
      "drainTimeout": "45s", "http": {"pathNormalization": "MERGE_SLASHES", "headersWithUnderscores": "reject",
      "maxRequestHeadersKiB": 60, "maxRequestHeaders": 100, "maxConcurrentStreams": 100,
      "initialStreamWindowBytes": 65536, "initialConnectionWindowBytes": 1048576, "requestHeadersTimeout": "10s",
      "streamIdleTimeout": "5m", "keepAliveTimeout": "1h", "detectionTimeout": "100ms", "maxRequests": 8192}},
      "extensionProviders": []})"));
  CHECK(cluster.kubectl({"explain", "mesh.spec.proxy.idleTimeout"}).contains("is ended after so long"));
}

}  // namespace
}  // namespace underpass::test
