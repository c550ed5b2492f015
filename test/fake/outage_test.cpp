// SPDX-License-Identifier: Apache-2.0
// The cluster's source when the server is away, another, or does not let it in any more: it keeps all it had and says
// so, and is back by itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <future>
#include <string>
#include <vector>

#include "test/fake/objects.h"
#include "test/fake/scene.h"

namespace underpass::fake {
namespace {

using Certificate = test::FakeApi::Certificate;
using test::FakeApi;
using test::Fault;
using What = test::Fault::What;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kPods = "/api/v1/pods";
constexpr auto kPatience = seconds(60);

bool all_stale(Scene& scene) {
  return std::ranges::all_of(scene.source().kinds(), [](const auto& kind) { return kind.stale_since.has_value(); });
}

void expect_kept(Scene& scene) {
  CHECK(scene.snapshot().pods.size() == 10);
  CHECK(scene.snapshot().authorization_policies.size() == 1);
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

struct Synced {
  FakeApi api;
  Scene scene;

  explicit Synced(const Scene::Options& options = {}) : scene((put_some(api), api), options) {
    REQUIRE(scene.start_and_sync());
    REQUIRE(scene.until_well());
    scene.keep_all();
  }
};

TEST_CASE("outage: the server is away and comes back") {
  Synced synced;
  auto& [api, scene] = synced;
  const auto before = std::chrono::system_clock::now();
  api.stop();
  CHECK(scene.until([&] { return scene.lost() && all_stale(scene); }));
  CHECK(scene.loss().find("refused") != std::string::npos);
  const auto since = scene.kind("Pod").stale_since.value();
  CHECK(since >= before - seconds(1));
  scene.run_for(seconds(2));
  CHECK(scene.kind("Pod").stale_since.value() - since < milliseconds(10));  // not that of the last attempt
  CHECK(scene.source().synced());
  expect_kept(scene);
  api.forget_requests();
  api.start();
  CHECK(scene.until_well(kPatience));
  CHECK_FALSE(scene.lost());
  CHECK(api.count("list") == 0);  // nothing happened meanwhile that a watch would not tell
  expect_kept(scene);
}

TEST_CASE("outage: what changed meanwhile is learnt, also where the history is gone") {
  Synced synced;
  auto& [api, scene] = synced;
  api.stop();
  CHECK(scene.until([&] { return scene.lost(); }));
  api.put(pod_object("shop", "web-1", "node-1", 5));
  api.put(pod_object("shop", "new", "node-1"));
  SUBCASE("by watches") {}
  SUBCASE("by lists") { api.forget_history(); }
  api.start();
  CHECK(scene.until_well(kPatience));
  CHECK(scene.snapshot().pods.size() == 11);
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("outage: the server's versions begin again, as after etcd was restored") {
  Synced synced;
  auto& [api, scene] = synced;
  api.stop();
  api.restart_versions_at(100);
  api.start();
  // A watch from the old version hears nothing, and is not told why: that it lasts is bounded by its timeout alone.
  CHECK(scene.until([&] { return api.open_watches(kPods) == 1; }));
  api.put(pod_object("shop", "new", "node-1"));
  api.misbehave(Fault::error_event(410).always());
  api.reset_connections();
  CHECK(scene.until([&] { return scene.kind("Pod").lists > 1; }));
  api.behave();
  CHECK(scene.until_well(kPatience));
  CHECK(scene.snapshot().pods.size() == 11);
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("outage: at the start, and nothing is told until the server is there") {
  FakeApi api;
  put_some(api);
  api.stop();
  Scene scene(api);
  scene.start();
  CHECK(scene.until([&] { return !scene.kind("Pod").problem.empty(); }));
  scene.run_for(seconds(1));
  CHECK(scene.told() == 0);
  CHECK_FALSE(scene.source().synced());
  api.start();
  CHECK(scene.until_well(kPatience));
  expect_kept(scene);
}

void live_through(Certificate certificate) {
  CAPTURE(static_cast<int>(certificate));
  Synced synced;
  auto& [api, scene] = synced;
  api.forget_requests();
  api.identify(certificate);
  CHECK(scene.until([&] { return scene.lost(); }));
  scene.run_for(seconds(1));
  CHECK(api.count("") == 0);  // no token was shown
  CHECK(scene.loss().find("certificate") != std::string::npos);
  expect_kept(scene);
  api.identify(Certificate::kGood);
  CHECK(scene.until_well(kPatience));
  expect_kept(scene);
}

TEST_CASE("outage: another server in its place is not believed") {
  std::vector<std::future<void>> running;
  for (const auto certificate :
       {Certificate::kOtherAuthority, Certificate::kOtherName, Certificate::kExpired, Certificate::kNotYet})
    running.push_back(std::async(std::launch::async, [certificate] { live_through(certificate); }));
  for (auto& one : running) one.get();
}

TEST_CASE("outage: a token that expires in the middle of a watch, and the next one in its file") {
  Synced synced;
  auto& [api, scene] = synced;
  api.revoke_token("token-1");
  SUBCASE("the new one is there before") { api.write_token(api.issue_token()); }
  SUBCASE("the new one comes later") {
    api.reset_connections();
    CHECK(scene.until([&] { return scene.kind("Pod").problem.find("401") != std::string::npos; }));
    expect_kept(scene);
    api.write_token("");  // as a writer that is not done
    scene.run_for(milliseconds(300));
    api.write_token(api.issue_token());
  }
  api.forget_requests();
  api.reset_connections();
  api.put(pod_object("shop", "web-1", "node-1", 5));
  CHECK(scene.until_well(kPatience));
  expect_kept(scene);
  const auto requests = api.requests();
  REQUIRE(!requests.empty());
  CHECK(requests.back().authorization == "Bearer token-2");
}

TEST_CASE("outage: requests that are never answered end, and are asked again") {
  Synced synced({.timeouts = {.response = seconds(2)}});
  auto& [api, scene] = synced;
  api.misbehave(Fault::stall().at(kPods).times(2));
  api.forget_history();
  api.put(pod_object("shop", "web-1", "node-1", 5));
  api.reset_connections();
  CHECK(scene.until_well(seconds(150)));
  expect_kept(scene);
}

// One pod's change is not told.
void expect_noticed(Synced& synced, What what) {
  auto& [api, scene] = synced;
  api.misbehave(Fault::watch(what).at(kPods));
  api.reset_connections();
  CHECK(scene.until([&] { return api.open_watches(kPods) == 1; }));
  api.put(pod_object("shop", "web-1", "node-1", 5));
  CHECK(scene.until_equal(seconds(100)));
  expect_kept(scene);
}

// Nothing but its own clock tells the source.
TEST_CASE("outage: a watch that goes silent while the connection lives is noticed") {
  Synced synced({.tuning = {.watch_least = seconds(1), .watch_most = seconds(2), .watch_grace = milliseconds(500)}});
  expect_noticed(synced, What::kSilence);
}

// Long before the watch's own end: a server that is well sends bookmarks.
TEST_CASE("outage: a server that hangs is noticed by its silence") {
  Synced synced({.timeouts = {.response = seconds(1)}, .tuning = {.watch_silence = seconds(1)}});
  auto& [api, scene] = synced;
  expect_noticed(synced, What::kSilence);
  api.misbehave(Fault::stall().always());
  CHECK(scene.until([&] { return scene.lost(); }));
  api.behave();
  api.reset_connections();
  CHECK(scene.until_well(kPatience));
  expect_kept(scene);
}

// Long before the watch's own end: the kernel asks whether the other end is there.
TEST_CASE("outage: a watch whose packets go nowhere is noticed") {
  Synced synced({.timeouts = {.silence = seconds(2)}});
  expect_noticed(synced, What::kBlackHole);
}

TEST_CASE("outage: clocks that differ and versions that do not matter") {
  for (const auto skew : {-std::chrono::hours(24 * 365), std::chrono::hours(24 * 365)}) {
    FakeApi api;
    put_some(api);
    api.set_clock_skew(skew);
    api.set_version("1", skew.count() < 0 ? "24+" : "99", skew.count() < 0 ? "v1.24.17-eks-abc" : "v1.99.0-rc.1");
    Scene scene(api);
    CHECK(scene.start_and_sync());
    CHECK(scene.until_well());
    std::optional<Result<k8s::ApiAnswer>> answer;
    scene.client().request("GET", "/version", nullptr, [&](auto got) { answer = std::move(got); });
    CHECK(scene.until([&] { return answer.has_value(); }));
    CHECK(answer->has_value());
    expect_kept(scene);
  }
}

}  // namespace
}  // namespace underpass::fake
