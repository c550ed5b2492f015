// SPDX-License-Identifier: Apache-2.0
// Who may do what in the cluster by manifests/: the agent and the controller, what they need and nothing else; and what
// somebody gets who has stolen an agent's token.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/kube/api_user.h"
#include "test/kube/scene.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

const std::string kAgentUser = "system:serviceaccount:underpass-system:underpass-agent";
const std::string kControllerUser = "system:serviceaccount:underpass-system:underpass-controller";
const std::string kIstio = "security.istio.io";
const std::string kOurs = "underpass.dev";
const std::string kCertificates = "certificates.k8s.io";
const std::string kRequests = "certificatesigningrequests";
const std::string kSigner = "underpass.dev/workload";
constexpr const char* kPolicies[] = {"authorizationpolicies", "peerauthentications", "requestauthentications"};

// --- what RBAC says ---

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

json::value review(const std::string& user, const Access& access) {
  return {{"apiVersion", "authorization.k8s.io/v1"},
          {"kind", "SubjectAccessReview"},
          {"spec",
           {{"user", user},
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
void check_access(const std::string& user, const std::vector<Access>& all, bool allowed) {
  json::array items;
  for (const auto& access : all) items.push_back(review(user, access));
  const json::value list{{"apiVersion", "v1"}, {"kind", "List"}, {"items", items}};
  std::istringstream lines(MeshCluster::shared().kube.kubectl(
      {"create", "-f", "-", "-o", "jsonpath={.spec.resourceAttributes.resource} {.status.allowed}{\"\\n\"}"},
      json::serialize(list)));
  for (const auto& access : all) {
    std::string line;
    std::getline(lines, line);
    CHECK_MESSAGE(line == access.resource + (allowed ? " true" : " false"), user << ": " << access.text());
  }
}

// Neither of the two may do these.
std::vector<Access> forbidden_to_both() {
  return {
      {"list", "", "secrets"},
      {"watch", "", "secrets", kAgentNamespace},
      {"list", "", "secrets", kAgentNamespace},
      {"get", "", "secrets", kAgentNamespace, "", "other"},
      {"get", "", "secrets", "default", "", "underpass-ca"},
      {"delete", "", "secrets", kAgentNamespace, "", "underpass-ca"},
      {"list", "", "configmaps"},
      {"list", "", "configmaps", kAgentNamespace},
      {"get", "", "configmaps", kAgentNamespace, "", "other"},
      {"patch", "", "configmaps", kAgentNamespace, "", "other"},
      {"delete", "", "configmaps", kAgentNamespace, "", "underpass-trust-bundle"},
      {"list", "", "serviceaccounts"},
      {"create", "", "serviceaccounts", kAgentNamespace, "token"},
      {"get", "apiextensions.k8s.io", "customresourcedefinitions"},
      {"patch", "apiextensions.k8s.io", "customresourcedefinitions"},
      {"create", "", "pods", kAgentNamespace, "exec"},
      {"create", "", "pods", kAgentNamespace, "ephemeralcontainers"},
      {"get", "", "pods", "", "log"},
      {"get", "", "nodes", "", "proxy"},
      {"impersonate", "", "users"},
      {"impersonate", "", "serviceaccounts", kAgentNamespace},
      {"impersonate", "authentication.k8s.io", "userextras"},
      {"create", "", "events"},  // of the older API
      {"patch", "events.k8s.io", "events"},
      {"list", "events.k8s.io", "events"},
      {"list", "apps", "daemonsets", kAgentNamespace},
      {"patch", "apps", "daemonsets", kAgentNamespace, "", kAgentName},
      {"delete", "apps", "daemonsets", kAgentNamespace, "", kAgentName},
      {"patch", "apps", "deployments", kAgentNamespace, "", "underpass-controller"},
      {"patch", "admissionregistration.k8s.io", "validatingadmissionpolicies"},
      {"delete", "admissionregistration.k8s.io", "validatingadmissionpolicybindings"},
      {"bind", "rbac.authorization.k8s.io", "clusterroles"},
      {"escalate", "rbac.authorization.k8s.io", "clusterroles"},
      {"create", "rbac.authorization.k8s.io", "clusterrolebindings"},
      {"update", kCertificates, kRequests},
      {"patch", kCertificates, kRequests},
      {"approve", kCertificates, "signers", "", "", "kubernetes.io/kube-apiserver-client"},
      {"sign", kCertificates, "signers", "", "", "kubernetes.io/kube-apiserver-client"},
      {"approve", kCertificates, "signers"},
      {"sign", kCertificates, "signers"},
      {"deletecollection", kOurs, "nodeworkloads"},
  };
}

// Of what is only read, the verbs that it needs are added to `allowed`, and everything else to `forbidden`.
struct Rights {
  std::vector<Access> allowed;
  std::vector<Access> forbidden = forbidden_to_both();

  void only_reads(const std::string& group, const std::string& resource) {
    for (const auto* verb : {"get", "list", "watch"}) allowed.push_back({verb, group, resource});
    no_writes(group, resource);
    for (const auto* verb : {"update", "patch"}) forbidden.push_back({verb, group, resource, "", "status"});
  }
  void only_watches(const std::string& group, const std::string& resource) {
    for (const auto* verb : {"list", "watch"}) allowed.push_back({verb, group, resource});
    forbidden.push_back({"get", group, resource});
    no_writes(group, resource);
    forbidden.push_back({"update", group, resource, "", "status"});
  }

 private:
  void no_writes(const std::string& group, const std::string& resource) {
    for (const auto* verb : {"create", "update", "patch", "delete", "deletecollection"})
      forbidden.push_back({verb, group, resource});
  }
};

TEST_CASE("manifests: what the agent may do in the cluster, and what not") {
  if (skip_without_cluster("the agent's rights")) return;
  const std::string sets = "daemonsets", maps = "configmaps", bundle = "underpass-trust-bundle";
  Rights rights;
  for (const auto* resource : {"namespaces", "nodes", "pods", "services"}) rights.only_reads("", resource);
  rights.only_reads("discovery.k8s.io", "endpointslices");
  for (const auto* resource : kPolicies) rights.only_reads(kIstio, resource);
  rights.only_reads(kOurs, "meshes");
  for (const auto* verb : {"get", "list", "watch", "create", "update", "patch", "delete"})
    rights.allowed.push_back({verb, kOurs, "nodeworkloads"});
  for (const auto* verb : {"get", "list", "watch"}) {
    rights.allowed.push_back({verb, "apps", sets, kAgentNamespace, "", kAgentName});
    rights.allowed.push_back({verb, "", maps, kAgentNamespace, "", bundle});
  }
  rights.allowed.insert(rights.allowed.end(), {
                                                  {"list", "apiextensions.k8s.io", "customresourcedefinitions"},
                                                  {"watch", "apiextensions.k8s.io", "customresourcedefinitions"},
                                                  {"create", "events.k8s.io", "events"},
                                                  {"create", kCertificates, kRequests},
                                                  {"get", kCertificates, kRequests},
                                              });
  rights.forbidden.insert(rights.forbidden.end(),
                          {
                              {"get", "", "secrets"},
                              {"get", "", "secrets", kAgentNamespace, "", "underpass-ca"},
                              {"create", "", "secrets", kAgentNamespace},
                              {"create", "", maps, kAgentNamespace},
                              {"update", "", maps, kAgentNamespace, "", bundle},
                              {"patch", "", maps, kAgentNamespace, "", bundle},
                              {"get", "", maps, "default", "", bundle},
                              {"get", "apps", sets, kAgentNamespace, "", "other"},
                              {"get", "apps", sets, "default", "", kAgentName},
                              {"list", "apps", sets},
                              {"list", kCertificates, kRequests},
                              {"watch", kCertificates, kRequests},
                              {"delete", kCertificates, kRequests},
                              {"update", kCertificates, kRequests, "", "approval"},
                              {"update", kCertificates, kRequests, "", "status"},
                              {"approve", kCertificates, "signers", "", "", kSigner},
                              {"sign", kCertificates, "signers", "", "", kSigner},
                              {"get", "coordination.k8s.io", "leases", kAgentNamespace, "", "underpass-controller"},
                              {"create", "coordination.k8s.io", "leases", kAgentNamespace},
                          });
  check_access(kAgentUser, rights.allowed, true);
  check_access(kAgentUser, rights.forbidden, false);
}

TEST_CASE("manifests: what the controller may do in the cluster, and what not") {
  if (skip_without_cluster("the controller's rights")) return;
  const std::string leases = "leases", of_leases = "coordination.k8s.io", own = "underpass-controller";
  Rights rights;
  for (const auto* resource : {"nodes", "pods"}) {
    rights.only_watches("", resource);
    rights.forbidden.push_back({"patch", "", resource, "", "status"});
  }
  for (const auto* resource : kPolicies) {
    rights.only_watches(kIstio, resource);
    rights.allowed.push_back({"patch", kIstio, resource, "", "status"});
  }
  rights.only_watches(kOurs, "meshes");
  rights.allowed.push_back({"patch", kOurs, "meshes", "", "status"});
  for (const auto* verb : {"list", "watch"}) {
    rights.allowed.push_back({verb, kOurs, "nodeworkloads"});
    rights.allowed.push_back({verb, kCertificates, kRequests});
  }
  for (const auto* verb : {"get", "update"}) {
    rights.allowed.push_back({verb, "", "secrets", kAgentNamespace, "", "underpass-ca"});
    rights.allowed.push_back({verb, "", "configmaps", kAgentNamespace, "", "underpass-trust-bundle"});
  }
  rights.allowed.insert(rights.allowed.end(), {
                                                  {"delete", kOurs, "nodeworkloads"},
                                                  {"update", kCertificates, kRequests, "", "approval"},
                                                  {"update", kCertificates, kRequests, "", "status"},
                                                  {"approve", kCertificates, "signers", "", "", kSigner},
                                                  {"sign", kCertificates, "signers", "", "", kSigner},
                                                  {"create", "", "secrets", kAgentNamespace},
                                                  {"create", "", "configmaps", kAgentNamespace},
                                                  {"create", of_leases, leases, kAgentNamespace},
                                                  {"get", of_leases, leases, kAgentNamespace, "", own},
                                                  {"update", of_leases, leases, kAgentNamespace, "", own},
                                              });
  rights.forbidden.insert(rights.forbidden.end(), {
                                                      {"create", "", "secrets", "default"},
                                                      {"create", "", "configmaps", "default"},
                                                      {"create", of_leases, leases, "default"},
                                                      {"get", of_leases, leases, "default", "", own},
                                                      {"get", of_leases, leases, kAgentNamespace, "", "other"},
                                                      {"update", of_leases, leases, kAgentNamespace, "", "other"},
                                                      {"delete", of_leases, leases, kAgentNamespace, "", own},
                                                      {"list", of_leases, leases, kAgentNamespace},
                                                      {"get", "apps", "daemonsets", kAgentNamespace, "", kAgentName},
                                                      {"get", kOurs, "nodeworkloads"},
                                                      {"create", kOurs, "nodeworkloads"},
                                                      {"update", kOurs, "nodeworkloads"},
                                                      {"patch", kOurs, "nodeworkloads"},
                                                      {"get", kCertificates, kRequests},
                                                      {"create", kCertificates, kRequests},
                                                      {"delete", kCertificates, kRequests},
                                                      {"patch", "", "secrets", kAgentNamespace, "", "underpass-ca"},
                                                      {"create", "events.k8s.io", "events"},
                                                      {"list", "", "namespaces"},
                                                      {"list", "apiextensions.k8s.io", "customresourcedefinitions"},
                                                      {"deletecollection", kCertificates, kRequests},
                                                      {"list", "", "services"},
                                                      {"list", "discovery.k8s.io", "endpointslices"},
                                                  });
  check_access(kControllerUser, rights.allowed, true);
  check_access(kControllerUser, rights.forbidden, false);
}

TEST_CASE("manifests: the agent lists and watches two objects by their names, and no others") {
  if (skip_without_cluster("the agent's own DaemonSet")) return;
  const KubeCluster& kube = MeshCluster::shared().kube;
  const ApiUser agent(kube, kube.token_of(kAgentNamespace, kAgentName));
  const auto ask = [&](const std::string& folder, const std::string& query) {
    return agent.ask("GET", folder + query).code;
  };
  const std::string sets = "/apis/apps/v1/namespaces/underpass-system/daemonsets";
  const std::string maps = "/api/v1/namespaces/underpass-system/configmaps";
  for (const auto& [folder, name] : {std::pair(sets, kAgentName), std::pair(maps, "underpass-trust-bundle")}) {
    CAPTURE(folder);
    CHECK(ask(folder, std::string("?fieldSelector=metadata.name%3D") + name) == 200);
    CHECK(ask(folder, std::string("?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3D") + name) == 200);
    CHECK(ask(folder, "") == 403);
    CHECK(ask(folder, "?watch=1&timeoutSeconds=1") == 403);
    CHECK(ask(folder, "?fieldSelector=metadata.name%3Dother") == 403);
  }
}

// --- a stolen token ---

const std::string kNodeWorkloads = "/apis/underpass.dev/v1alpha1/nodeworkloads";
const std::string kAllRequests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

std::string workloads_of(const std::string& node, const std::string& more = "") {
  return R"({"apiVersion": "underpass.dev/v1alpha1", "kind": "NodeWorkloads", "metadata": {"name": ")" + node +
         R"(.0"}, "spec": {"node": ")" + node + R"(", "shard": 0, "workloads": [{"namespace": "shop", "name": "web",
         "uid": "u-1", "serviceAccount": "web", "ips": ["10.0.0.1"], "tunnel": "HBONE"}]})" +
         more + "}";
}

std::string request_for(const std::string& name, const std::string& signer) {
  const KubeCluster& kube = MeshCluster::shared().kube;
  const fs::path key = kube.root() / "request.key", file = kube.root() / "request.csr";
  run_ok(
      {.argv = {"openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                key, "-out", file, "-subj", "/CN=x", "-addext", "subjectAltName=URI:spiffe://cluster.local/x"}});
  const auto text = run_ok({.argv = {"base64", "--wrap=0", file}});
  return R"({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": ")" +
         name + R"("}, "spec": {"signerName": ")" + signer + R"(", "request": ")" + text + R"(",
         "username": "kubernetes-admin", "extra": {"authentication.kubernetes.io/node-name": ["stolen-b"]},
         "usages": ["digital signature", "client auth", "server auth"]}})";
}

// The request as it is there, with one more condition, as `approve` sends it.
std::string approved(json::value request) {
  request.at("status").as_object()["conditions"] = {
      {{"type", "Approved"}, {"status", "True"}, {"reason", "Test"}, {"message", "by a test"}}};
  return json::serialize(request);
}

// Two nodes, an agent on each, and their tokens as their kubelets would ask for them.
struct StolenToken {
  StolenToken() {
    for (const std::string node : {"stolen-a", "stolen-b"})
      kube.load({to_yaml(NodeObject{node, {"192.0.2.1"}}), to_yaml(PodObject{.ns = kAgentNamespace,
                                                                             .name = "agent-of-" + node,
                                                                             .node = node,
                                                                             .ips = {"192.0.2.1"},
                                                                             .service_account = kAgentName})});
    in_force = eventually(seconds(20), [&] {
      return nobody.ask("POST", kNodeWorkloads + "?dryRun=All", workloads_of("stolen-a")).code == 422;
    });
  }
  ~StolenToken() {
    for (const std::string node : {"stolen-a", "stolen-b"}) {
      (void)admin.ask("DELETE", kNodeWorkloads + "/" + node + ".0");
      (void)admin.ask("DELETE", "/api/v1/namespaces/underpass-system/pods/agent-of-" + node + "?gracePeriodSeconds=0");
      (void)admin.ask("DELETE", "/api/v1/nodes/" + node);
    }
    (void)admin.ask("DELETE", kAllRequests);
  }
  [[nodiscard]] ApiUser agent_of(const std::string& node) const {
    return {kube, kube.token_of(kAgentNamespace, kAgentName, {.pod = "agent-of-" + node})};
  }

  const KubeCluster& kube = MeshCluster::shared().kube;
  ApiUser admin{kube, kube.token_of("kube-system", "tester")};
  ApiUser nobody{kube, kube.token_of(kAgentNamespace, kAgentName)};  // an agent's, bound to no pod
  bool in_force = false;  // the admission policy: some moments after it is there
};

TEST_CASE("manifests: an agent writes NodeWorkloads of its own node") {
  if (skip_without_cluster("NodeWorkloads are written")) return;
  const StolenToken scene;
  REQUIRE(scene.in_force);
  const auto agent = scene.agent_of("stolen-a");
  const std::string own = kNodeWorkloads + "/stolen-a.0";
  CHECK(agent.ask("POST", kNodeWorkloads, workloads_of("stolen-a")).code == 201);
  const auto changed = agent.ask("PATCH", own, R"({"spec": {"workloads": []}})");
  CHECK(changed.code == 200);
  CHECK(agent.ask("PUT", own, changed.body).code == 200);
  CHECK(agent.ask("DELETE", own).code == 200);
  CHECK(agent.ask("PATCH", own + "?fieldManager=agent", workloads_of("stolen-a")).code == 404);
}

TEST_CASE("manifests: a stolen agent token writes NodeWorkloads of no other node, and without a node of none") {
  if (skip_without_cluster("NodeWorkloads are written by others")) return;
  const StolenToken scene;
  REQUIRE(scene.in_force);
  const auto thief = scene.agent_of("stolen-a");
  const std::string own = kNodeWorkloads + "/stolen-a.0", other = kNodeWorkloads + "/stolen-b.0";
  const auto check_refused = [](const ApiAnswer& answer, const std::string& cause) {
    CHECK_MESSAGE(answer.code == 422, answer.code << " " << answer.body);
    CHECK_MESSAGE(answer.body.contains(cause), answer.body);
  };
  const std::string no_other = "the agent of stolen-a writes of no other node";
  const std::string taken_over = "metadata.name: Invalid value";  // the schema, which is asked before
  check_refused(thief.ask("POST", kNodeWorkloads, workloads_of("stolen-b")), no_other);
  REQUIRE(scene.agent_of("stolen-b").ask("POST", kNodeWorkloads, workloads_of("stolen-b")).code == 201);
  const auto of_other = thief.ask("GET", other);
  REQUIRE(of_other.code == 200);
  check_refused(thief.ask("PUT", other, of_other.body), no_other);
  check_refused(thief.ask("PATCH", other, R"({"spec": {"workloads": []}})"), no_other);
  check_refused(thief.ask("PATCH", other, R"({"metadata": {"labels": {"a": "b"}}})"), no_other);
  check_refused(thief.ask("PATCH", other, R"({"spec": {"node": "stolen-a"}})"), taken_over);
  check_refused(thief.ask("DELETE", other), "it is of stolen-b, and the agent is of stolen-a");
  CHECK(thief.ask("DELETE", kNodeWorkloads).code == 403);  // the collection

  REQUIRE(thief.ask("POST", kNodeWorkloads, workloads_of("stolen-a")).code == 201);
  check_refused(thief.ask("PATCH", own, R"({"spec": {"node": "stolen-b"}})"), taken_over);
  // Nothing that would outlive the kind.
  check_refused(thief.ask("PATCH", own, R"({"metadata": {"finalizers": ["example.org/stay"]}})"), "an agent adds none");
  CHECK(scene.admin.ask("PATCH", own, R"({"metadata": {"finalizers": ["example.org/stay"]}})").code == 200);
  CHECK(thief.ask("PATCH", own, R"({"spec": {"workloads": []}})").code == 200);
  CHECK(thief.ask("PATCH", own, R"({"metadata": {"finalizers": null}})").code == 200);

  for (const auto& answer :
       {scene.nobody.ask("POST", kNodeWorkloads, workloads_of("stolen-c")),
        scene.nobody.ask("PATCH", own, R"({"spec": {"workloads": []}})"), scene.nobody.ask("DELETE", own)})
    check_refused(answer, "must be bound to a Pod that has a node");
  // Others are bound by their rights alone.
  CHECK(scene.admin.ask("PATCH", other, R"({"spec": {"workloads": []}})").code == 200);
  const ApiUser controller(scene.kube, scene.kube.token_of(kAgentNamespace, "underpass-controller"));
  CHECK(controller.ask("DELETE", other).code == 200);
  CHECK(controller.ask("POST", kNodeWorkloads, workloads_of("stolen-b")).code == 403);
}

TEST_CASE("manifests: a stolen agent token reads no Secret, changes no state, becomes nobody else") {
  if (skip_without_cluster("a token is stolen")) return;
  const StolenToken scene;
  const auto thief = scene.agent_of("stolen-a");
  const std::string system = "/api/v1/namespaces/underpass-system";
  const std::string ours = "/apis/underpass.dev/v1alpha1", istio = "/apis/security.istio.io/v1";
  const std::string token = R"({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})";
  const std::string conditions = R"({"status": {"conditions": []}})";
  struct Attempt {
    std::string method;
    std::string path;
    std::string body{};
    std::vector<std::string> headers{};
  };
  const Attempt attempts[] = {
      {"GET", system + "/secrets/underpass-ca"},
      {"GET", system + "/secrets"},
      {"GET", "/api/v1/secrets"},
      {"GET", "/api/v1/namespaces/kube-system/secrets/x"},
      {"PATCH", "/api/v1/nodes/stolen-a", R"({"metadata": {"labels": {"underpass.dev/mesh": "disabled"}}})"},
      {"PATCH", "/api/v1/nodes/stolen-a/status", conditions},
      {"PATCH", system + "/pods/agent-of-stolen-a/status", conditions},
      {"PATCH", ours + "/meshes/default", R"({"spec": {"trustDomain": "evil"}})"},
      {"PATCH", ours + "/meshes/default/status", conditions},
      {"PATCH", istio + "/namespaces/shop/authorizationpolicies/x/status", conditions},
      {"PATCH", istio + "/namespaces/shop/peerauthentications/x/status", conditions},
      {"PATCH", istio + "/namespaces/shop/requestauthentications/x/status", conditions},
      {"DELETE", istio + "/namespaces/shop/authorizationpolicies/x"},
      {"PATCH", system + "/configmaps/underpass-trust-bundle", R"({"data": {"root-cert.pem": "mine"}})"},
      {"POST", system + "/serviceaccounts/underpass-controller/token", token},
      {"POST", system + "/serviceaccounts/underpass-agent/token", token},
      {"GET", "/api/v1/nodes", "", {"Impersonate-User: " + kControllerUser}},
      {"GET", "/api/v1/nodes", "", {"Impersonate-User: kubernetes-admin", "Impersonate-Group: system:masters"}},
      {"POST",
       kNodeWorkloads,
       workloads_of("stolen-b"),
       {"Impersonate-User: " + kAgentUser, "Impersonate-Extra-authentication.kubernetes.io%2Fnode-name: stolen-b"}},
      {"GET", kAllRequests},
      {"DELETE", kAllRequests},
  };
  for (const auto& attempt : attempts) {
    const auto answer = thief.ask(attempt.method, attempt.path, attempt.body, attempt.headers);
    CHECK_MESSAGE(answer.code == 403, attempt.method << " " << attempt.path << ": " << answer.body);
  }
}

TEST_CASE("manifests: an agent asks for a certificate, the controller alone approves, and for one signer") {
  if (skip_without_cluster("certificates are asked for")) return;
  const StolenToken scene;
  const auto thief = scene.agent_of("stolen-a");
  const ApiUser controller(scene.kube, scene.kube.token_of(kAgentNamespace, "underpass-controller"));
  const std::string own = kAllRequests + "/own", foreign = kAllRequests + "/foreign";
  REQUIRE(thief.ask("POST", kAllRequests, request_for("own", kSigner)).code == 201);
  REQUIRE(thief.ask("POST", kAllRequests, request_for("foreign", "kubernetes.io/kube-apiserver-client")).code == 201);
  // Who asks, and from where, is written by the API server: what stood there is gone.
  const auto asked = thief.ask("GET", own).json();
  CHECK(asked.at_pointer("/spec/username") == json::value(kAgentUser));
  CHECK(asked.at_pointer("/spec/extra").at("authentication.kubernetes.io/node-name") == json::value{"stolen-a"});

  CHECK(thief.ask("PUT", own + "/approval", approved(asked)).code == 403);
  CHECK(thief.ask("PUT", own + "/status", json::serialize(asked)).code == 403);
  CHECK(thief.ask("DELETE", own).code == 403);
  const auto of_others = thief.ask("GET", foreign).json();
  CHECK(controller.ask("PUT", foreign + "/approval", approved(of_others)).code == 403);
  CHECK(controller.ask("PUT", foreign + "/status", json::serialize(of_others)).code == 200);  // no certificate in it
  CHECK(controller.ask("PUT", own + "/approval", approved(asked)).code == 200);
  const fs::path chain = scene.kube.ca();
  const auto certificate = run_ok({.argv = {"base64", "--wrap=0", chain}});
  const auto sign = [&](const std::string& request) {
    auto object = thief.ask("GET", request).json();
    object.at("status").as_object()["certificate"] = certificate;
    return controller.ask("PUT", request + "/status", json::serialize(object)).code;
  };
  CHECK(sign(own) == 200);
  CHECK(sign(foreign) == 403);
  CHECK(thief.ask("GET", own).json().at_pointer("/status/certificate") == json::value(certificate));
  CHECK(controller.ask("DELETE", own).code == 403);
}

}  // namespace
}  // namespace underpass::test
