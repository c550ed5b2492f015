// SPDX-License-Identifier: Apache-2.0
// The cluster's source against a server that behaves: what is told when, what is asked for, and how often.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>
#include <string>

#include "test/fake/objects.h"
#include "test/fake/scene.h"

namespace underpass::fake {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeApi;
using test::Fault;

constexpr const char* kPods = "/api/v1/pods";
constexpr const char* kPolicies = "/apis/security.istio.io/v1/authorizationpolicies";
constexpr const char* kOldPolicies = "/apis/security.istio.io/v1beta1/authorizationpolicies";

void expect_sound(Scene& scene) {
  CHECK_MESSAGE(scene.difference().empty(), scene.difference());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("sync: with every way to log in") {
  for (const auto login :
       {Scene::Login::kToken, Scene::Login::kTokenFile, Scene::Login::kCertificate, Scene::Login::kCertificateFiles}) {
    CAPTURE(static_cast<int>(login));
    FakeApi api;
    put_some(api);
    Scene scene(api, {.login = login});
    CHECK(scene.client().server() == api.url());
    CHECK(scene.start_and_sync());
    expect_sound(scene);
    CHECK_FALSE(scene.lost());
  }
}

TEST_CASE("sync: from within a pod") {
  FakeApi api;
  put_some(api);
  ::setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", std::to_string(api.port()).c_str(), 1);
  {
    Scene scene(api, {.in_cluster = true});
    CHECK(scene.client().server() == api.url());
    CHECK(scene.start_and_sync());
    expect_sound(scene);
  }
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ::unsetenv("KUBERNETES_SERVICE_PORT");
  CHECK_THROWS(Scene(api, {.in_cluster = true}));
}

TEST_CASE("sync: what is asked for") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  REQUIRE(scene.until([&] { return api.open_watches(kPods) == 1; }));
  for (const auto& request : api.requests()) {
    CAPTURE(request.path);
    CHECK(request.user_agent == "underpassd/test (node-1)");
    CHECK(request.status == 200);
    CHECK_FALSE(request.query.contains("fieldSelector"));  // pods of other nodes, too
    if (request.verb == "list") CHECK(request.query.contains("limit"));
    if (request.verb == "watch") {
      CHECK(request.query.at("allowWatchBookmarks") == "true");
      CHECK(request.query.at("resourceVersion") == std::to_string(api.version()));
      CHECK(request.query.contains("timeoutSeconds"));
    }
  }
}

TEST_CASE("sync: one list and one watch of each kind, and none for a change") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  REQUIRE(scene.until([&] { return api.open_watches() > kKinds.size(); }));  // and of the definitions
  for (const auto& kind : kKinds) {
    const auto state = scene.kind(kind);
    CAPTURE(kind);
    CHECK(state.synced);
    CHECK(state.problem.empty());
    CHECK(api.count("list", state.path) == 1);
    CHECK(api.count("watch", state.path) == 1);
    CHECK(state.lists == 1);
    CHECK(state.watches == 1);
  }
  CHECK(scene.kind("Pod").objects == 10);  // of both nodes
  const auto asked = api.count("");
  scene.keep_all();
  for (int version = 2; version < 100; ++version) {
    api.put(pod_object("shop", "web-" + std::to_string(version % 5), "node-1", version));
    api.put(slice_object("shop", "web-" + std::to_string(version % 5), version));
  }
  CHECK(scene.until_equal());
  expect_sound(scene);
  CHECK(api.count("") == asked);
  CHECK(scene.kind("Pod").events == 98);
}

TEST_CASE("sync: every kind is changed, made and removed by events") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  const std::vector<boost::json::value> changed{namespace_object("bank", 2),
                                                node_object("node-2", 2),
                                                pod_object("shop", "web-1", "node-1", 2),
                                                service_object("shop", "web", 2),
                                                slice_object("shop", "web-1", 2),
                                                policy_object("shop", "allow-web", 2),
                                                mesh_object("other.example"),
                                                authentication_object("shop", "strict", 2),
                                                tokens_object("shop", "tokens", 2)};
  for (const auto& object : changed) {
    api.put(object);
    CHECK(scene.until_equal(seconds(5)));
  }
  const std::vector<boost::json::value> made{namespace_object("new"),          node_object("node-9"),
                                             pod_object("new", "a", "node-1"), service_object("new", "a"),
                                             slice_object("new", "a"),         policy_object("new", "a"),
                                             account_object("new", "a"),       authentication_object("new", "a"),
                                             tokens_object("new", "a")};
  for (const auto& object : made) {
    api.put(object);
    CHECK(scene.until_equal(seconds(5)));
  }
  for (const auto& object : made) {
    const auto& metadata = object.at("metadata").as_object();
    const auto* ns = metadata.if_contains("namespace");
    api.remove(std::string_view(object.at("kind").as_string()), ns == nullptr ? "" : ns->as_string().c_str(),
               metadata.at("name").as_string().c_str());
    CHECK(scene.until_equal(seconds(5)));
  }
  api.remove("Mesh", "", "default");
  CHECK(scene.until_equal(seconds(5)));
  // A pod that is scheduled here later, and one that is made again under its name.
  api.put(pod_object("shop", "late", ""));
  api.put(pod_object("shop", "late", "node-1"));
  CHECK(scene.until_equal(seconds(5)));
  CHECK(scene.snapshot().pods.contains({"shop", "late"}));
  api.remove("Pod", "shop", "late");
  api.put(pod_object("shop", "late", "node-1", 5));
  CHECK(scene.until_equal(seconds(5)));
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("sync: nothing is told before all kinds are there") {
  for (const std::string kind : {"Namespace", "EndpointSlice", "AuthorizationPolicy", "Mesh"}) {
    CAPTURE(kind);
    FakeApi api;
    put_some(api);
    std::string path;
    {
      Scene scene(api);
      REQUIRE(scene.start_and_sync());
      path = scene.kind(kind).path;
    }
    const bool stalled = kind == "EndpointSlice";
    const auto fault = api.misbehave((stalled ? Fault::stall() : Fault::answer(500)).at(path).lists().always());
    Scene scene(api);
    scene.start();
    const auto all_but_one = [&] {
      const auto kinds = scene.source().kinds();
      return std::ranges::count_if(kinds, &k8s::KindState::synced) + 1 == std::ssize(kinds) && !scene.kind(kind).synced;
    };
    CHECK(scene.until(all_but_one));
    scene.run_for(milliseconds(300));
    CHECK_FALSE(scene.source().synced());
    CHECK(scene.told() == 0);
    if (!stalled) CHECK(scene.kind(kind).problem.find("500") != std::string::npos);
    api.behave(fault);
    if (stalled) api.reset_connections();
    CHECK(scene.until([&] { return scene.told() > 0; }));
    CHECK(scene.source().synced());
    CHECK(scene.until_equal());
    CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
    CHECK(scene.kind(kind).problem.empty());
  }
}

TEST_CASE("sync: kinds that the cluster does not have are taken up when they are installed") {
  FakeApi api;
  api.undefine("AuthorizationPolicy");
  api.undefine("PeerAuthentication");
  api.undefine("Mesh");
  api.put(namespace_object("shop"));
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  CHECK(scene.kind("AuthorizationPolicy").path.empty());
  CHECK(scene.kind("AuthorizationPolicy").synced);
  CHECK(scene.kind("AuthorizationPolicy").problem.empty());
  scene.keep_all();

  api.define("AuthorizationPolicy");
  api.put(policy_object("shop", "allow"));
  CHECK(scene.until_equal());
  CHECK(scene.kind("AuthorizationPolicy").path == kPolicies);
  api.define("PeerAuthentication", {"v1beta1"});
  api.put(authentication_object("shop", "strict"));
  CHECK(scene.until([&] { return scene.snapshot().peer_authentications.size() == 1; }));
  CHECK(scene.kind("PeerAuthentication").path == "/apis/security.istio.io/v1beta1/peerauthentications");
  api.define("Mesh");
  api.put(mesh_object());
  CHECK(scene.until_equal());
  expect_sound(scene);
}

TEST_CASE("sync: a kind that is uninstalled is gone with its objects, and may come back") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  scene.keep_all({"AuthorizationPolicy"});
  for (int round = 0; round < 3; ++round) {
    api.undefine("AuthorizationPolicy");
    CHECK(scene.until([&] { return scene.kind("AuthorizationPolicy").path.empty(); }));
    CHECK(scene.until_equal());
    CHECK(scene.kind("AuthorizationPolicy").problem.empty());
    api.define("AuthorizationPolicy");
    api.put(policy_object("shop", "allow-" + std::to_string(round)));
    CHECK(scene.until_equal());
  }
  expect_sound(scene);
}

TEST_CASE("sync: a kind that answers 404 while its definition is there is not taken for absent") {
  FakeApi api;
  put_some(api);
  for (const auto* path : {kPolicies, kOldPolicies}) api.misbehave(Fault::answer(404).at(path).always());
  Scene scene(api);
  scene.start();
  CHECK(scene.until([&] { return !scene.kind("AuthorizationPolicy").problem.empty(); }));
  scene.run_for(milliseconds(500));
  CHECK_FALSE(scene.source().synced());
  CHECK(scene.told() == 0);
  CHECK(scene.kind("AuthorizationPolicy").problem.find("404") != std::string::npos);
  api.behave();
  CHECK(scene.until_well());
  // ... nor later.
  scene.keep_all();
  for (const auto* path : {kPolicies, kOldPolicies}) api.misbehave(Fault::answer(404).at(path).always());
  api.forget_history();
  api.reset_connections();
  CHECK(scene.until([&] { return scene.kind("AuthorizationPolicy").problem.find("404") != std::string::npos; }));
  scene.run_for(milliseconds(300));
  CHECK(scene.difference().empty());
  api.behave();
  CHECK(scene.until_well());
  expect_sound(scene);
}

TEST_CASE("sync: a right that is missing is named") {
  FakeApi api;
  put_some(api);
  const auto fault = api.misbehave(Fault::forbidden().at(kPolicies).lists().always());
  Scene scene(api);
  scene.start();
  CHECK(scene.until([&] { return !scene.kind("AuthorizationPolicy").problem.empty(); }));
  scene.run_for(milliseconds(300));
  CHECK_FALSE(scene.source().synced());
  CHECK(scene.told() == 0);
  const auto problem = scene.kind("AuthorizationPolicy").problem;
  CAPTURE(problem);
  CHECK(problem.find("403") != std::string::npos);
  CHECK(problem.find("cannot list resource \"authorizationpolicies\" in API group \"security.istio.io\"") !=
        std::string::npos);
  api.behave(fault);
  CHECK(scene.until_well());
  // The right to watch alone: listed it is, and that is not the end of it.
  const auto unwatched = api.misbehave(Fault::forbidden().at(kPolicies).watches().always());
  api.reset_connections();
  CHECK(
      scene.until([&] { return scene.kind("AuthorizationPolicy").problem.find("cannot watch") != std::string::npos; }));
  CHECK(scene.kind("AuthorizationPolicy").stale_since.has_value());
  api.behave(unwatched);
  CHECK(scene.until_well());
  expect_sound(scene);
}

TEST_CASE("sync: the own DaemonSet, and that it goes") {
  FakeApi api;
  put_some(api);
  Scene without(api, {.daemon_set = true});
  REQUIRE(without.start_and_sync());
  without.run_for(milliseconds(200));
  CHECK_FALSE(without.source().daemon_set_removed());  // it was never there

  api.put(daemon_set_object("underpass-system", "underpass"));
  api.put(daemon_set_object("underpass-system", "other"));
  Scene scene(api, {.daemon_set = true});
  REQUIRE(scene.start_and_sync());
  REQUIRE(scene.until([&] { return api.open_watches("/apis/apps/v1/daemonsets") >= 1; }));
  api.remove("DaemonSet", "underpass-system", "other");
  scene.run_for(milliseconds(200));
  CHECK_FALSE(scene.source().daemon_set_removed());
  SUBCASE("deleted") { api.remove("DaemonSet", "underpass-system", "underpass"); }
  SUBCASE("about to be, in the foreground") {
    auto object = daemon_set_object("underpass-system", "underpass");
    object.at("metadata").as_object()["deletionTimestamp"] = "2026-01-02T03:04:05Z";
    api.put(object);
  }
  CHECK(scene.until([&] { return scene.source().daemon_set_removed(); }, seconds(5)));
}

}  // namespace
}  // namespace underpass::fake
