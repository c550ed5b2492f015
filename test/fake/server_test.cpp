// SPDX-License-Identifier: Apache-2.0
// The fake API server itself, with curl as its client: what it says when it behaves.
#include <doctest/doctest.h>

#include <string>

#include "test/fake/curl.h"
#include "test/fake/objects.h"
#include "test/support/fake_api.h"

namespace underpass::fake {
namespace {

namespace json = boost::json;
using test::eventually;
using test::FakeApi;
using test::Process;
using test::seconds;

std::string percent_encoded(const std::string& text) {
  std::string out;
  for (const char c : text) {
    char code[4];
    std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned char>(c));
    out += code;
  }
  return out;
}

std::string names_of(const json::value& list) {
  std::string names;
  for (const auto& item : list.at("items").as_array()) {
    names += (names.empty() ? "" : " ") + std::string(item.at("metadata").at("name").as_string());
  }
  return names;
}

std::string text_at(const json::value& value, const std::string& pointer) {
  const auto& found = value.at_pointer(pointer);
  return found.is_string() ? std::string(found.as_string()) : json::serialize(found);
}

void put_pods(FakeApi& api, int count) {
  for (int i = 0; i < count; ++i) api.put(pod_object("shop", "pod-" + std::to_string(i), "node-1"));
}

std::string shown(const std::string& out) {
  std::string text;
  for (const auto& event : events_in(out)) text += (text.empty() ? "" : ", ") + show_event(event);
  return text;
}

// Until this is what the watch has told.
void expect_events(Process& watch, const std::string& expected) {
  const bool told = eventually(seconds(5), [&] { return shown(watch.out()) == expected; });
  CHECK_MESSAGE(told, shown(watch.out()) << " instead of " << expected);
}

TEST_CASE("the fake: a list as kube-apiserver writes it") {
  FakeApi api;
  put_pods(api, 2);
  const auto answer = curl(api, "/api/v1/pods");
  REQUIRE(answer.status == 200);
  CHECK(answer.exit == 0);
  const auto list = answer.json();
  CHECK(text_at(list, "/kind") == "PodList");
  CHECK(text_at(list, "/apiVersion") == "v1");
  CHECK(text_at(list, "/metadata/resourceVersion") == std::to_string(api.version()));
  CHECK(names_of(list) == "pod-0 pod-1");
  CHECK_FALSE(list.at_pointer("/items/0").as_object().contains("kind"));
  CHECK(std::stoull(text_at(list, "/items/0/metadata/resourceVersion")) + 1 == api.version());
  const auto meshes = curl(api, "/apis/underpass.dev/v1alpha1/meshes").json();
  CHECK(text_at(meshes, "/kind") == "MeshList");
  api.put(mesh_object());
  CHECK(text_at(curl(api, "/apis/underpass.dev/v1alpha1/meshes").json(), "/items/0/kind") == "Mesh");
}

TEST_CASE("the fake: pages show what there was at the first one") {
  FakeApi api;
  put_pods(api, 5);
  const auto first = curl(api, "/api/v1/pods?limit=2").json();
  CHECK(names_of(first) == "pod-0 pod-1");
  CHECK(text_at(first, "/metadata/remainingItemCount") == "3");
  api.remove("Pod", "shop", "pod-2");
  api.put(pod_object("shop", "pod-3", "node-1", 7));
  api.put(pod_object("shop", "pod-9", "node-1"));
  const auto next = "/api/v1/pods?limit=2&continue=";
  const auto second = curl(api, next + percent_encoded(text_at(first, "/metadata/continue"))).json();
  CHECK(names_of(second) == "pod-2 pod-3");
  CHECK(text_at(second, "/items/1/metadata/labels/version") == "1");
  CHECK(text_at(second, "/metadata/resourceVersion") == text_at(first, "/metadata/resourceVersion"));
  const auto token = percent_encoded(text_at(second, "/metadata/continue"));
  const auto third = curl(api, next + token).json();
  CHECK(names_of(third) == "pod-4");
  CHECK_FALSE(third.at("metadata").as_object().contains("continue"));
  CHECK(names_of(curl(api, "/api/v1/pods").json()) == "pod-0 pod-1 pod-3 pod-4 pod-9");

  api.forget_history();
  const auto expired = curl(api, next + token);
  CHECK(expired.status == 410);
  CHECK(text_at(expired.json(), "/reason") == "Expired");
  CHECK(curl(api, std::string(next) + "nonsense").status == 400);
}

TEST_CASE("the fake: who asks for a part gets that part") {
  FakeApi api;
  api.put(pod_object("shop", "here", "node-1"));
  api.put(pod_object("shop", "there", "node-2"));
  api.put(pod_object("bank", "here", "node-2"));
  CHECK(names_of(curl(api, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1").json()) == "here");
  CHECK(names_of(curl(api, "/api/v1/pods?fieldSelector=metadata.name%3Dthere").json()) == "there");
  CHECK(names_of(curl(api, "/api/v1/namespaces/shop/pods").json()) == "here there");
  CHECK(curl(api, "/api/v1/services?fieldSelector=spec.nodeName%3Dnode-1").status == 400);
  CHECK(text_at(curl(api, "/api/v1/namespaces/shop/pods/there").json(), "/kind") == "Pod");
  const auto none = curl(api, "/api/v1/namespaces/shop/pods/nobody");
  CHECK(none.status == 404);
  CHECK(text_at(none.json(), "/message") == "pods \"nobody\" not found");
}

TEST_CASE("the fake: a watch from a version on") {
  FakeApi api;
  put_pods(api, 1);
  const auto from = std::to_string(api.version());
  Process watch(curl_command(api, "/api/v1/pods?watch=true&resourceVersion=" + from));
  api.put(pod_object("shop", "web", "node-1"));
  api.put(namespace_object("shop"));
  api.put(pod_object("shop", "web", "node-1", 2));
  api.remove("Pod", "shop", "web");
  const auto at = api.version();
  const auto text = [&](std::uint64_t before) { return std::to_string(at - before); };
  expect_events(watch, "ADDED web " + text(3) + ", MODIFIED web " + text(1) + ", DELETED web " + text(0));
  CHECK(text_at(events_in(watch.out()).at(0), "/object/kind") == "Pod");
  // One that starts later is told the same.
  Process later(curl_command(api, "/api/v1/pods?watch=true&resourceVersion=" + text(2)));
  expect_events(later, "MODIFIED web " + text(1) + ", DELETED web " + text(0));
  // From the beginning: what there is.
  Process all(curl_command(api, "/api/v1/pods?watch=1"));
  expect_events(all, "ADDED pod-0 " + from);
}

TEST_CASE("the fake: of a part, what comes into it and what leaves it") {
  FakeApi api;
  api.put(pod_object("shop", "web", ""));
  const auto from = api.version();
  Process watch(curl_command(
      api, "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=" + std::to_string(from)));
  api.put(pod_object("shop", "web", "node-1"));
  api.put(pod_object("shop", "web", "node-2"));
  api.put(pod_object("shop", "web", "node-3"));
  expect_events(watch, "ADDED web " + std::to_string(from + 1) + ", DELETED web " + std::to_string(from + 2));
}

TEST_CASE("the fake: bookmarks, the end of a watch, and the next request on its connection") {
  FakeApi api;
  const auto from = std::to_string(api.version());
  const auto target = "/api/v1/pods?watch=true&resourceVersion=" + from;
  const auto both = curl(api, "/version", {api.url() + target + "&allowWatchBookmarks=true&timeoutSeconds=1"});
  CHECK(both.exit == 0);
  const auto requests = api.requests();
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].connection == requests[1].connection);
  CHECK(requests[0].verb == "watch");
  CHECK(requests[1].path == "/version");
  CHECK(shown(both.body).starts_with("BOOKMARK " + from));
  const auto without = curl(api, target + "&timeoutSeconds=1");
  CHECK(without.exit == 0);
  CHECK(without.body.empty());
}

TEST_CASE("the fake: a watch from before its history ends with 410 inside") {
  FakeApi api;
  put_pods(api, 5);
  const auto from = api.version() - 3;
  api.keep_history(2);
  const auto answer = curl(api, "/api/v1/pods?watch=true&resourceVersion=" + std::to_string(from));
  CHECK(answer.status == 200);
  CHECK(answer.exit == 0);
  CHECK(shown(answer.body) == "ERROR 410");
  Process watch(curl_command(api, "/api/v1/pods?watch=true&resourceVersion=" + std::to_string(from + 1)));
  expect_events(watch, "ADDED pod-3 " + std::to_string(from + 2) + ", ADDED pod-4 " + std::to_string(from + 3));
}

TEST_CASE("the fake: large answers are compressed for those who take it") {
  FakeApi api;
  put_pods(api, 10);
  api.set_compressed_from(100);
  const auto plain = curl(api, "/api/v1/pods");
  CHECK_FALSE(plain.has_header("Content-Encoding"));
  CHECK(plain.has_header("Transfer-Encoding: chunked"));
  const auto compressed = curl(api, "/api/v1/pods", {"--compressed"});
  CHECK(compressed.has_header("Content-Encoding: gzip"));
  CHECK(compressed.body == plain.body);
  const auto requests = api.requests();
  CHECK(requests.at(1).bytes < requests.at(0).bytes / 2);
}

TEST_CASE("the fake: tokens and certificates are looked at") {
  FakeApi api;
  CHECK(curl(api, "/api/v1/pods", {"-H", "Authorization: Bearer other"}).status == 401);
  CHECK(curl(api, "/api/v1/pods", {"-H", "Authorization:"}).status == 401);
  CHECK(curl(api, "/version", {"-H", "Authorization:"}).status == 200);
  api.revoke_token("token-1");
  const auto refused = curl(api, "/api/v1/pods");
  CHECK(refused.status == 401);
  CHECK(text_at(refused.json(), "/reason") == "Unauthorized");
  const auto token = api.issue_token();
  CHECK(curl(api, "/api/v1/pods", {"-H", "Authorization: Bearer " + token}).status == 200);

  static_cast<void>(api.kubeconfig(api.in_cluster_folder(), FakeApi::Login::kCertificateFiles));
  const auto folder = api.in_cluster_folder().string();
  CHECK(curl(api, "/api/v1/pods", {"--cert", folder + "/client.crt", "--key", folder + "/client.key"}).status == 200);
}

TEST_CASE("the fake: a client sees that a certificate is wrong") {
  FakeApi api;
  using Certificate = FakeApi::Certificate;
  for (const auto certificate :
       {Certificate::kOtherAuthority, Certificate::kOtherName, Certificate::kExpired, Certificate::kNotYet}) {
    api.identify(certificate);
    const int exit = curl(api, "/version").exit;
    CHECK_MESSAGE((exit == 60 || exit == 35), exit);  // 35: by the name it is the right authority
  }
  api.identify(Certificate::kGood);
  CHECK(curl(api, "/version").exit == 0);
}

TEST_CASE("the fake: custom kinds are there as long as their definition is") {
  FakeApi api;
  api.put(policy_object("shop", "allow"));
  const std::string v1 = "/apis/security.istio.io/v1/authorizationpolicies";
  const std::string v1beta1 = "/apis/security.istio.io/v1beta1/authorizationpolicies";
  CHECK(text_at(curl(api, v1).json(), "/items/0/apiVersion") == "security.istio.io/v1");
  CHECK(text_at(curl(api, v1beta1).json(), "/items/0/apiVersion") == "security.istio.io/v1beta1");
  const std::string definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const std::string partial = "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
  const auto list = curl(api, definitions, {"-H", partial}).json();
  CHECK(text_at(list, "/kind") == "PartialObjectMetadataList");
  CHECK(text_at(list, "/items/0/metadata/name") == "authorizationpolicies.security.istio.io");
  CHECK_FALSE(list.at_pointer("/items/0").as_object().contains("spec"));

  Process watch(curl_command(api, v1 + "?watch=true&resourceVersion=" + std::to_string(api.version())));
  CHECK(eventually(seconds(5), [&] { return api.open_watches(v1) == 1; }));
  api.undefine("AuthorizationPolicy");
  CHECK(watch.wait(seconds(5)).has_value());
  CHECK(shown(watch.out()) == "DELETED allow " + std::to_string(api.version() - 1));
  CHECK(curl(api, v1).status == 404);
  CHECK(curl(api, v1).body == "404 page not found\n");
  api.define("AuthorizationPolicy", {"v1beta1"});
  CHECK(curl(api, v1).status == 404);
  CHECK(names_of(curl(api, v1beta1).json()).empty());
  CHECK(text_at(curl(api, "/apis/security.istio.io/v1beta1").json(), "/kind") == "APIResourceList");
}

TEST_CASE("the fake: objects are made, changed and deleted over HTTP too") {
  FakeApi api;
  const auto event = [](const std::string& method) {
    return Options{"-X", method,
                   "-H", "Content-Type: application/json",
                   "-d", R"({"metadata":{"name":"web.1"},"reason":"Refused"})"};
  };
  const std::string events = "/api/v1/namespaces/shop/events";
  CHECK(curl(api, events, event("POST")).status == 201);
  const auto again = curl(api, events, event("POST"));
  CHECK(again.status == 409);
  CHECK(text_at(again.json(), "/reason") == "AlreadyExists");
  CHECK(curl(api, events + "/web.1", event("PUT")).status == 200);
  CHECK(curl(api, events + "/web.2", event("PUT")).status == 200);
  CHECK(text_at(curl(api, events + "/web.1").json(), "/reason") == "Refused");
  CHECK(curl(api, events + "/web.1", {"-X", "DELETE"}).status == 200);
  CHECK(curl(api, events + "/web.1").status == 404);
  CHECK(curl(api, events, {"-X", "POST", "-d", "nonsense"}).status == 400);
}

TEST_CASE("the fake: what every client asks first") {
  FakeApi api;
  CHECK(text_at(curl(api, "/version").json(), "/gitVersion") == "v1.34.2");
  CHECK(curl(api, "/readyz").body == "ok");
  api.set_version("1", "24", "v1.24.17");
  CHECK(text_at(curl(api, "/version").json(), "/minor") == "24");
  api.set_clock_skew(-std::chrono::hours(24 * 365 * 30));
  CHECK(curl(api, "/version").has_header(" 19"));
  const auto request = api.requests().at(0);
  CHECK(request.user_agent.starts_with("curl/"));
  CHECK(request.status == 200);
}

TEST_CASE("the fake: it comes back on the same port") {
  FakeApi api;
  Process watch(curl_command(api, "/api/v1/pods?watch=true&resourceVersion=0"));
  CHECK(eventually(seconds(5), [&] { return api.open_watches() == 1; }));
  api.stop();
  const auto end = watch.wait(seconds(5));
  REQUIRE(end.has_value());
  CHECK(end->code == 56);  // "failure in receiving network data"
  CHECK(curl(api, "/version").exit == 7);
  api.start();
  CHECK(curl(api, "/version").exit == 0);
}

}  // namespace
}  // namespace underpass::fake
