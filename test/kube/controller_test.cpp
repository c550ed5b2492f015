// SPDX-License-Identifier: Apache-2.0
// `underpassd controller` on the real API server: the authority that it keeps, whom it signs for, what it writes of
// policies, and who of two leads.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <string>
#include <vector>

#include "agent/ca/authority.h"
#include "agent/ca/details.h"
#include "agent/ca/issue.h"
#include "agent/ca/openssl.h"
#include "agent/ca/request.h"
#include "agent/k8s/base64.h"
#include "test/kube/api_user.h"
#include "test/kube/controller_process.h"
#include "test/kube/scene.h"
#include "test/support/eventually.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr const char* kSecret = "/api/v1/namespaces/underpass-system/secrets/underpass-ca";
constexpr const char* kMap = "/api/v1/namespaces/underpass-system/configmaps/underpass-trust-bundle";
constexpr const char* kRequests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const std::string kWeb = "spiffe://cluster.local/ns/signed/sa/web";

// A cluster of its own, since authorities come and go here.
MeshCluster& cluster() {
  static MeshCluster cluster;
  return cluster;
}

// As before anything was installed.
void forget_authority() {
  cluster().kube.kubectl({"delete", "-n", kAgentNamespace, "--ignore-not-found", "secret/underpass-ca",
                          "configmap/underpass-trust-bundle"});
}

json::value secret_with(const ca::KeyPair& root, const ca::KeyPair& issuer, const ca::KeyPtr& key) {
  const auto coded = [](const std::string& text) { return json::string(k8s::encode_base64(text)); };
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"metadata", {{"name", "underpass-ca"}, {"namespace", kAgentNamespace}}},
          {"data",
           {{"root-cert.pem", coded(ca::to_pem({&root.certificate, 1}))},
            {"ca-cert.pem", coded(ca::to_pem({&issuer.certificate, 1}))},
            {"cert-chain.pem", coded(ca::to_pem({&issuer.certificate, 1}))},
            {"ca-key.pem", coded(ca::to_pem(key))}}}};
}

// Node "signer-a" with a pod of account signed/web and an agent, whose token this is.
std::string agent_token() {
  auto& kube = cluster().kube;
  kube.load({to_yaml(NamespaceObject{"signed"}), to_yaml(NodeObject{"signer-a", {"192.0.2.1"}}),
             "apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: signed, name: web}\n",
             to_yaml(PodObject{.ns = "signed",
                               .name = "web",
                               .node = "signer-a",
                               .ips = {"10.9.0.1"},
                               .service_account = "web",
                               .ready = true}),
             to_yaml(PodObject{.ns = kAgentNamespace,
                               .name = "agent-signer-a",
                               .node = "signer-a",
                               .service_account = kAgentName,
                               .ready = true})});
  return kube.token_of(kAgentNamespace, kAgentName, {.pod = "agent-signer-a"});
}

// Asks as the holder of the token; the name of the request.
std::string ask(const std::string& token, const std::string& pem) {
  const json::value object{{"apiVersion", "certificates.k8s.io/v1"},
                           {"kind", "CertificateSigningRequest"},
                           {"metadata", {{"generateName", "test-"}}},
                           {"spec",
                            {{"request", k8s::encode_base64(pem)},
                             {"signerName", "underpass.dev/workload"},
                             {"usages", {"digital signature", "client auth", "server auth"}}}}};
  const auto made = run_ok({.argv = {"curl", "-sS", "--fail-with-body", "--cacert", cluster().kube.ca(), "-H",
                                     "Authorization: Bearer " + token, "-H", "Content-Type: application/json", "--data",
                                     json::serialize(object), cluster().kube.server() + kRequests}});
  return std::string(json::parse(made).at("metadata").at("name").as_string());
}

// What becomes of it: "Approved", "Denied: …", with the certificate, if there is one.
struct Answer {
  std::string said;
  std::string certificate;
};
Answer answer_to(const std::string& name, seconds patience = seconds(15)) {
  Answer out;
  (void)eventually(patience, [&] {
    const auto object = cluster().get(std::string(kRequests) + "/" + name);
    const auto* status = object.at("status").if_object();
    if (status == nullptr) return false;
    if (const auto* text = status->if_contains("certificate"))
      out.certificate = k8s::decode_base64(std::string(text->as_string())).value();
    out.said.clear();
    if (const auto* conditions = status->if_contains("conditions"))
      for (const auto& one : conditions->as_array()) {
        out.said += std::string(one.at("type").as_string());
        if (one.at("type").as_string() != "Approved") out.said += ": " + std::string(one.at("message").as_string());
      }
    return !out.certificate.empty() || out.said.contains(": ");
  });
  return out;
}

TEST_CASE("controller: makes an authority where there is none, publishes its root, and signs for who runs there") {
  if (skip_without_cluster("the controller signs")) return;
  const auto token = agent_token();
  forget_authority();
  ControllerProcess controller(cluster(), "one");
  CAPTURE(controller.log());
  controller.start();
  controller.wait_leads();
  REQUIRE(eventually(seconds(20), [] { return !trust_bundle_of(cluster()).empty(); }));
  CHECK(eventually(seconds(20), [&] { return controller.readiness().ends_with("200"); }));
  CHECK(cluster().get(kSecret).at("data").as_object().size() == 5);  // with the root's key

  const auto request = ca::make_request(kWeb).value();
  const auto answer = answer_to(ask(token, request.pem));
  CHECK(answer.said == "Approved");
  const auto chain = ca::parse_certificates(answer.certificate).value();
  REQUIRE(chain.size() == 2);  // without the root
  const auto roots = ca::parse_certificates(trust_bundle_of(cluster())).value();
  CHECK(ca::verify_chain(chain[0], {chain[1]}, roots, std::chrono::system_clock::now()));
  CHECK(ca::describe(chain[0]).identity == kWeb);

  // Of an account that no pod of the node has, even though the account is there; and of another trust domain.
  cluster().kube.load({to_yaml(NodeObject{"signer-b", {"192.0.2.2"}}),
                       "apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: signed, name: elsewhere}\n",
                       to_yaml(PodObject{.ns = "signed",
                                         .name = "elsewhere",
                                         .node = "signer-b",
                                         .ips = {"10.9.0.2"},
                                         .service_account = "elsewhere",
                                         .ready = true})});
  const auto foreign = ask(token, ca::make_request("spiffe://other.example/ns/signed/sa/web").value().pem);
  CHECK(answer_to(foreign).said.contains("is not of the trust domain cluster.local"));
  const auto unbound = ask(cluster().kube.token_of(kAgentNamespace, kAgentName), request.pem);
  CHECK(answer_to(unbound).said.contains("says no authentication.kubernetes.io/node-name"));
  const auto elsewhere = ask(token, ca::make_request("spiffe://cluster.local/ns/signed/sa/elsewhere").value().pem);
  CHECK(answer_to(elsewhere, seconds(2)).said.empty());  // it might be newer than what the controller knows
  CHECK(answer_to(elsewhere, seconds(45))
            .said.contains("Node signer-a runs no pod with ServiceAccount signed/elsewhere"));
  CHECK(answer_to(elsewhere).certificate.empty());

  const auto metrics = controller.metrics();
  CHECK(metrics.contains("underpass_controller_certificate_requests_total{result=\"issued\"} 1"));
  CHECK(metrics.contains("underpass_controller_certificate_requests_total{result=\"denied\"} 3"));
  controller.stop();
}

TEST_CASE("controller: what an operator's Secret says, and what is wrong with one") {
  if (skip_without_cluster("an operator's authority")) return;
  const auto token = agent_token();
  forget_authority();
  const ca::Validity years{.now = std::chrono::system_clock::now(), .lasts = std::chrono::hours(24 * 365)};
  const auto root = ca::make_root(years).value();
  const auto issuer = ca::make_intermediate(root, years).value();
  cluster().kube.kubectl({"create", "-f", "-"},
                         json::serialize(secret_with(root, issuer, ca::make_p256_key().value())));
  ControllerProcess controller(cluster(), "one");
  CAPTURE(controller.log());
  controller.start();
  controller.wait_leads();
  const auto is_ready = [&](const std::string& text) {
    return eventually(seconds(20), [&] { return controller.readiness().contains(text); });
  };
  CHECK(is_ready("underpass-system/underpass-ca/ca-key.pem: is not the key of ca-cert.pem"));
  const auto request = ca::make_request(kWeb).value();
  const auto name = ask(token, request.pem);
  CHECK(answer_to(name, seconds(2)).said.empty());
  CHECK(trust_bundle_of(cluster()).empty());

  // The right key: what waited is signed.
  cluster().kube.kubectl({"replace", "-f", "-"}, json::serialize(secret_with(root, issuer, issuer.key)));
  CHECK(is_ready("200"));
  CHECK(answer_to(name).said == "Approved");
  CHECK(trust_bundle_of(cluster()) == ca::to_pem({&root.certificate, 1}));
  CHECK(cluster().get(kSecret).at("data").as_object().size() == 4);  // an operator's is not written

  // Taken away: nothing is made in its place, since all that there is would not be believed any more.
  cluster().kube.kubectl({"delete", "-n", kAgentNamespace, "secret/underpass-ca"});
  CHECK(is_ready("Secret underpass-system/underpass-ca: is gone"));
  CHECK(answer_to(ask(token, request.pem), seconds(2)).said.empty());
  forget_authority();
  CHECK(is_ready("200"));
  CHECK(trust_bundle_of(cluster()) != ca::to_pem({&root.certificate, 1}));
}

TEST_CASE("controller: the mesh's trust domain, which a new leader hears of before it judges") {
  if (skip_without_cluster("another trust domain")) return;
  const auto token = agent_token();
  forget_authority();
  const auto other = ca::make_request("spiffe://mesh.example/ns/signed/sa/web").value();
  cluster().kube.apply(
      "apiVersion: underpass.dev/v1alpha1\nkind: Mesh\nmetadata: {name: default}\nspec: {trustDomain: mesh.example}\n");
  // It cannot hear of the Mesh yet: it judges nobody.
  const std::string path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/underpass-controller";
  auto role = cluster().get(path);
  json::array rules;
  for (auto rule : role.at("rules").as_array()) {
    json::array resources;
    for (const auto& one : rule.at("resources").as_array())
      if (one.as_string() != "meshes") resources.push_back(one);
    if (resources.empty()) continue;
    rule.at("resources") = resources;
    rules.push_back(rule);
  }
  role.at("rules") = rules;
  cluster().kube.kubectl({"replace", "-f", "-"}, json::serialize(role));
  ControllerProcess controller(cluster(), "one");
  CAPTURE(controller.log());
  controller.start();
  controller.wait_leads();
  REQUIRE(eventually(seconds(20), [] { return !trust_bundle_of(cluster()).empty(); }));
  const auto asked = ask(token, other.pem);
  CHECK(answer_to(asked, seconds(4)).said.empty());
  cluster().kube.kubectl({"delete", "clusterrole", "underpass-controller"});
  cluster().apply_manifests();
  CHECK(answer_to(asked, seconds(60)).said == "Approved");
  CHECK(answer_to(ask(token, ca::make_request(kWeb).value().pem))
            .said.contains("is not of the trust domain mesh.example"));
  cluster().kube.kubectl({"delete", "mesh", "default"});
  CHECK(eventually(seconds(20),
                   [&] { return answer_to(ask(token, ca::make_request(kWeb).value().pem)).said == "Approved"; }));
}

TEST_CASE("controller: a ConfigMap that it may not write is said, and what it signs by goes on") {
  if (skip_without_cluster("the trust bundle cannot be written")) return;
  const auto token = agent_token();
  forget_authority();
  ControllerProcess controller(cluster(), "one");
  CAPTURE(controller.log());
  controller.start();
  controller.wait_leads();
  REQUIRE(eventually(seconds(20), [] { return !trust_bundle_of(cluster()).empty(); }));
  const auto root = trust_bundle_of(cluster());
  cluster().kube.kubectl({"patch", "role", "underpass-controller", "-n", kAgentNamespace, "--type=json", "-p",
                          R"([{"op": "replace", "path": "/rules", "value": [
                               {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
                               {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get"]}]}])"});
  cluster().merge(kMap, R"({"data": {"root-cert.pem": "not any more"}})");
  CHECK(eventually(seconds(30), [&] { return controller.readiness().contains("write ConfigMap"); }));
  CHECK(answer_to(ask(token, ca::make_request(kWeb).value().pem)).said == "Approved");
  cluster().kube.kubectl({"delete", "role", "underpass-controller", "-n", kAgentNamespace});  // its field is kubectl's
  cluster().apply_manifests();
  CHECK(eventually(seconds(30), [&] { return trust_bundle_of(cluster()) == root; }));
  CHECK(eventually(seconds(10), [&] { return controller.readiness().ends_with("200"); }));
}

TEST_CASE("controller: a new root, when an operator asks for it") {
  if (skip_without_cluster("the root is rotated")) return;
  const auto token = agent_token();
  forget_authority();
  ControllerProcess controller(cluster(), "one", {"--root-overlap", "12s", "--certificate-lifetime", "10s"});
  CAPTURE(controller.log());
  controller.start();
  REQUIRE(eventually(seconds(40), [] { return !trust_bundle_of(cluster()).empty(); }));
  const auto old = trust_bundle_of(cluster());
  cluster().kube.kubectl(
      {"annotate", "secret", "-n", kAgentNamespace, "underpass-ca", "underpass.dev/rotate-root=now"});
  // Both, then the new one alone; and at each moment what is signed is believed.
  CHECK(eventually(seconds(20), [&] {
    const auto now = trust_bundle_of(cluster());
    return now.starts_with(old) && now.size() > old.size();
  }));
  CHECK(!json::serialize(cluster().get(kSecret).at("metadata")).contains("rotate-root"));
  const auto request = ca::make_request(kWeb).value();
  const auto signed_now = [&] {
    const auto chain = ca::parse_certificates(answer_to(ask(token, request.pem)).certificate).value();
    const auto roots = ca::parse_certificates(trust_bundle_of(cluster())).value();
    return ca::verify_chain(chain.front(), chain, roots, std::chrono::system_clock::now()).has_value();
  };
  CHECK(signed_now());
  CHECK(eventually(seconds(90), [&] {
    CHECK(signed_now());
    return !trust_bundle_of(cluster()).contains(old);
  }));
  CHECK(signed_now());
}

TEST_CASE("controller: of two one leads; it is killed, stopped, or held up, and the other goes on with the same root") {
  if (skip_without_cluster("two controllers")) return;
  const auto token = agent_token();
  forget_authority();
  ControllerProcess a(cluster(), "a"), b(cluster(), "b");
  CAPTURE(a.log());
  CAPTURE(b.log());
  a.start();
  a.wait_leads();
  REQUIRE(eventually(seconds(20), [] { return !trust_bundle_of(cluster()).empty(); }));
  const auto root = trust_bundle_of(cluster());
  b.start();
  CHECK(b.readiness().ends_with("200"));  // it could
  CHECK_FALSE(b.leads());
  const auto request = ca::make_request(kWeb).value();
  const auto is_signed = [&] { return answer_to(ask(token, request.pem)).said == "Approved"; };
  CHECK(is_signed());

  a.kill9();
  b.wait_leads();  // when the Lease has run out
  CHECK(is_signed());
  CHECK(trust_bundle_of(cluster()) == root);

  // Told to stop it gives the Lease back.
  a.start();
  b.stop();
  CHECK(eventually(seconds(8), [&] { return a.leads(); }));
  CHECK(is_signed());

  // One that does not run for longer than its term: when it goes on it leads no more.
  b.start();
  a.pause();
  b.wait_leads();
  a.resume();
  CHECK(eventually(seconds(10), [&] { return !a.leads(); }));
  CHECK(is_signed());
  CHECK(b.leads());

  // The Lease is deleted under it: one of the two gets it.
  cluster().kube.kubectl({"delete", "lease", "-n", kAgentNamespace, "underpass-controller"});
  CHECK(eventually(seconds(30), [&] { return a.leads() != b.leads(); }));
  CHECK(is_signed());
}

TEST_CASE("controller: no right to a Lease, and none to sign") {
  if (skip_without_cluster("the controller's rights are missing")) return;
  forget_authority();
  auto& kube = cluster().kube;
  kube.kubectl({"delete", "rolebinding", "-n", kAgentNamespace, "underpass-controller"});
  ControllerProcess controller(cluster(), "one");
  CAPTURE(controller.log());
  controller.start();
  CHECK(eventually(seconds(10), [&] { return controller.readiness().contains("Lease"); }));
  CHECK(controller.readiness().ends_with("503"));
  CHECK_FALSE(controller.leads());
  cluster().apply_manifests();
  controller.wait_leads();
  CHECK(eventually(seconds(30), [&] { return controller.readiness().ends_with("200"); }));
}

// The condition of an object: "True Accepted", "False Invalid: …"; empty: it has none.
std::string condition_of(const std::string& path) {
  const auto object = cluster().get(path);
  const auto* status = object.as_object().if_contains("status");
  const auto* conditions = status == nullptr ? nullptr : status->as_object().if_contains("conditions");
  if (conditions == nullptr) return "";
  for (const auto& one : conditions->as_array()) {
    if (one.at("type").as_string() != "underpass.dev/Accepted") continue;
    auto out = std::string(one.at("status").as_string()) + " " + std::string(one.at("reason").as_string());
    return one.at("status").as_string() == "True" ? out : out + ": " + std::string(one.at("message").as_string());
  }
  return "";
}

TEST_CASE("controller: the status of policies says what agents make of them, and leaves others' conditions alone") {
  if (skip_without_cluster("the status of policies")) return;
  forget_authority();
  ControllerProcess controller(cluster(), "one");
  CAPTURE(controller.log());
  controller.start();
  controller.wait_leads();
  cluster().put({}, "judged");
  const std::string path = "/apis/security.istio.io/v1/namespaces/judged/authorizationpolicies/";
  cluster().put_policy("judged", "good", R"({"action": "ALLOW", "rules": [{}]})");
  cluster().put_policy("judged", "bad", R"({"action": "PERHAPS", "rules": [{}]})");
  CHECK(eventually(seconds(20), [&] { return condition_of(path + "good") == "True Accepted"; }));
  CHECK(
      eventually(seconds(20), [&] { return condition_of(path + "bad").starts_with("False Invalid: spec.action: "); }));
  // Mended, with a condition of somebody else's in between.
  cluster().merge(path + "bad/status", R"({"status": {"conditions": [{"type": "Reconciled", "status": "True"}]}})");
  CHECK(eventually(seconds(20), [&] { return condition_of(path + "bad").starts_with("False Invalid"); }));
  cluster().put_policy("judged", "bad", R"({"action": "DENY", "rules": [{}]})");
  CHECK(eventually(seconds(20), [&] { return condition_of(path + "bad") == "True Accepted"; }));
  CHECK(json::serialize(cluster().get(path + "bad").at("status")).contains("Reconciled"));
  // What says so already is not written again.
  const auto version = cluster().get(path + "good").at("metadata").at("resourceVersion");
  controller.stop();
  controller.start();
  controller.wait_leads();
  cluster().put_policy("judged", "last", R"({"action": "ALLOW", "rules": [{}]})");
  CHECK(eventually(seconds(20), [&] { return condition_of(path + "last") == "True Accepted"; }));
  CHECK(cluster().get(path + "good").at("metadata").at("resourceVersion") == version);
}

}  // namespace
}  // namespace underpass::test
