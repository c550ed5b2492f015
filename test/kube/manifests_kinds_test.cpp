// SPDX-License-Identifier: Apache-2.0
// The kinds that manifests/ bring, on a real API server: it takes the Meshes that the decoder takes, NodeWorkloads that
// are good, and shows both as an operator would see them.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "test/kube/api_user.h"
#include "test/kube/scene.h"
#include "test/support/node_workloads.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

const fs::path kHere = UNDERPASS_KUBE_TESTS;
const std::string kMeshes = "/apis/underpass.dev/v1alpha1/meshes";
const std::string kNodeWorkloads = "/apis/underpass.dev/v1alpha1/nodeworkloads";
const std::string kStrict = "?fieldValidation=Strict";  // as kubectl asks

ApiUser administrator() {
  const KubeCluster& kube = MeshCluster::shared().kube;
  return {kube, kube.token_of("kube-system", "tester")};
}

// --- Mesh ---

std::vector<fs::path> meshes(const std::string& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(kHere / "meshes" / folder)) out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

TEST_CASE("manifests: the API server and the table of Meshes") {
  if (skip_without_cluster("the schema of Mesh")) return;
  const auto admin = administrator();
  const auto good = meshes("good"), bad = meshes("bad");
  CHECK(good.size() > 10);
  CHECK(bad.size() > 30);
  for (const auto& path : good) {
    const auto created = admin.ask("POST", kMeshes + kStrict, read_file(path));
    CHECK_MESSAGE(created.code == 201, path.string() << ": " << created.body);
    CHECK(admin.ask("DELETE", kMeshes + "/default").code == 200);
  }
  for (const auto& path : bad) {
    constexpr std::string_view kAt = "\n# at: ";
    const auto text = read_file(path);
    const auto from = text.find(kAt) + kAt.size();
    const auto at = text.substr(from, text.find('\n', from) - from);
    const auto created = admin.ask("POST", kMeshes + kStrict, text);
    CHECK_MESSAGE((created.code == 400 || created.code == 422), path.string() << ": " << created.code);
    CHECK_MESSAGE(created.body.contains(at), path.string() << ": " << created.body);
  }
}

TEST_CASE("manifests: a Mesh as operators see it") {
  if (skip_without_cluster("the columns of Mesh")) return;
  const KubeCluster& kube = MeshCluster::shared().kube;
  kube.kubectl({"create", "-f", kHere / "meshes/good/nothing.yaml"});
  const auto shown = kube.kubectl({"get", "meshes"});
  CHECK_MESSAGE(shown.starts_with("NAME      TRUST DOMAIN    ISOLATION   AGE\ndefault   cluster.local   namespace   "),
                shown);
  CHECK(kube.kubectl({"get", "upmesh", "-o", "name"}) == "mesh.underpass.dev/default\n");
  CHECK(kube.kubectl({"get", "underpass", "-o", "name"}) == "mesh.underpass.dev/default\n");
  // Every default of the schema is there to be read.
  const auto spec = json::parse(kube.kubectl({"get", "mesh", "default", "-o", "jsonpath={.spec}"}));
  CHECK(spec == json::parse(R"({"trustDomain": "cluster.local", "rootNamespace": "istio-system",
      "isolation": "namespace", "proxy": {"threads": 2, "connectTimeout": "10s", "idleTimeout": "1h",
      "drainTimeout": "45s", "http": {"pathNormalization": "MERGE_SLASHES", "headersWithUnderscores": "reject",
      "maxRequestHeadersKiB": 60, "maxRequestHeaders": 100, "maxConcurrentStreams": 100,
      "initialStreamWindowBytes": 65536, "initialConnectionWindowBytes": 1048576, "requestHeadersTimeout": "10s",
      "streamIdleTimeout": "5m", "keepAliveTimeout": "1h", "detectionTimeout": "100ms", "maxRequests": 8192}},
      "extensionProviders": []})"));
  CHECK(kube.kubectl({"explain", "mesh.spec.proxy.idleTimeout"}).contains("is ended after so long"));
  kube.kubectl({"delete", "mesh", "default"});
}

TEST_CASE("manifests: the status of a Mesh is the controller's, and its spec is not") {
  if (skip_without_cluster("the status of Mesh")) return;
  const KubeCluster& kube = MeshCluster::shared().kube;
  const auto admin = administrator();
  const ApiUser controller(kube, kube.token_of(kAgentNamespace, "underpass-controller"));
  const std::string status = R"({"spec": {"isolation": "shared"}, "status": {"observedGeneration": 1, "conditions": [
      {"type": "Accepted", "status": "True", "reason": "Valid", "message": "", "observedGeneration": 1,
       "lastTransitionTime": "2026-01-02T03:04:05Z"}]}})";
  // What comes with the object is not taken for its status.
  REQUIRE(admin.ask("POST", kMeshes, read_file(kHere / "meshes/good/nothing.yaml")).code == 201);
  CHECK(admin.ask("PATCH", kMeshes + "/default", R"({"status": {"observedGeneration": 5}})").code == 200);
  CHECK_FALSE(admin.ask("GET", kMeshes + "/default").json().as_object().contains("status"));

  const auto written = controller.ask("PATCH", kMeshes + "/default/status", status);
  CHECK_MESSAGE(written.code == 200, written.body);
  CHECK(written.json().at_pointer("/status/conditions/0/reason") == json::value("Valid"));
  CHECK(written.json().at_pointer("/spec/isolation") == json::value("namespace"));
  CHECK(controller.ask("PATCH", kMeshes + "/default", status).code == 403);
  for (const std::string bad : {R"([{"type": "Accepted"}])", R"([{"type": "A", "status": "yes", "reason": "B",
      "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}])"})
    CHECK(controller.ask("PATCH", kMeshes + "/default/status", R"({"status": {"conditions": )" + bad + "}}").code ==
          422);
  CHECK(admin.ask("DELETE", kMeshes + "/default").code == 200);
}

// --- NodeWorkloads ---

TEST_CASE("manifests: good NodeWorkloads are taken") {
  if (skip_without_cluster("the schema of NodeWorkloads")) return;
  const auto admin = administrator();
  for (const auto& [name, spec] : good_node_workloads()) {
    const auto answer = admin.ask("POST", kNodeWorkloads + kStrict + "&dryRun=All", node_workloads(name, spec));
    CHECK_MESSAGE(answer.code == 201, spec.substr(0, 200) << ": " << answer.body);
  }
}

TEST_CASE("manifests: bad NodeWorkloads are refused, and where") {
  if (skip_without_cluster("the schema of NodeWorkloads, bad ones")) return;
  const auto admin = administrator();
  for (const auto& bad : bad_node_workloads()) {
    const auto answer = admin.ask("POST", kNodeWorkloads + kStrict + "&dryRun=All", node_workloads(bad.name, bad.spec));
    CHECK_MESSAGE((answer.code == 400 || answer.code == 422), bad.spec.substr(0, 200) << ": " << answer.code);
    CHECK_MESSAGE(answer.body.contains(bad.at), bad.spec.substr(0, 200) << ": " << answer.body);
  }
}

TEST_CASE("manifests: NodeWorkloads as operators see them") {
  if (skip_without_cluster("the columns of NodeWorkloads")) return;
  const KubeCluster& kube = MeshCluster::shared().kube;
  const auto admin = administrator();
  REQUIRE(admin.ask("POST", kNodeWorkloads, node_workloads("n1.3", R"({"node": "n1", "shard": 3})")).code == 201);
  const auto shown = kube.kubectl({"get", "upnw"});
  CHECK_MESSAGE(shown.starts_with("NAME   NODE   SHARD   AGE\nn1.3   n1     3       "), shown);
  CHECK(kube.kubectl({"get", "underpass", "-o", "name"}) == "nodeworkloads.underpass.dev/n1.3\n");
  CHECK(kube.kubectl({"explain", "nodeworkloads.spec.workloads.ips"}).contains("one of each family"));
  CHECK(admin.ask("DELETE", kNodeWorkloads + "/n1.3").code == 200);
}

// --- Istio's ---

TEST_CASE("manifests: the stand-ins for Istio's kinds serve both versions") {
  if (skip_without_cluster("the stand-ins")) return;
  const auto admin = administrator();
  const json::value policy{{"apiVersion", "security.istio.io/v1"},
                           {"kind", "PeerAuthentication"},
                           {"metadata", {{"name", "strict"}, {"namespace", "default"}}},
                           {"spec", {{"mtls", {{"mode", "STRICT"}}}}}};
  const std::string kinds = "/apis/security.istio.io/";
  const std::string of_default = "/namespaces/default/";
  REQUIRE(admin.ask("POST", kinds + "v1" + of_default + "peerauthentications", json::serialize(policy)).code == 201);
  for (const std::string version : {"v1", "v1beta1"}) {
    const auto path = kinds + version + of_default;
    const auto found = admin.ask("GET", path + "peerauthentications/strict").json();
    CHECK(found.at("apiVersion") == json::value("security.istio.io/" + version));
    CHECK(found.at("spec") == policy.at("spec"));
    for (const std::string other : {"authorizationpolicies", "requestauthentications"})
      CHECK(admin.ask("GET", path + other).code == 200);
  }
  CHECK(admin.ask("DELETE", kinds + "v1" + of_default + "peerauthentications/strict").code == 200);
}

}  // namespace
}  // namespace underpass::test
