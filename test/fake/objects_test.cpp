// SPDX-License-Identifier: Apache-2.0
// The cluster's source and objects that nobody would write: large, strange, broken. One of them spoils no other.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <string>

#include "test/fake/objects.h"
#include "test/fake/scene.h"

namespace underpass::fake {
namespace {

using std::chrono::seconds;
using test::FakeApi;

// In a list first, and then in a watch.
void expect_taken(const std::function<void(FakeApi&, int)>& put) {
  FakeApi api;
  put_some(api);
  put(api, 1);
  Scene scene(api);
  REQUIRE(scene.start_and_sync(seconds(60)));
  scene.keep_all();
  put(api, 2);
  api.put(pod_object("shop", "web-1", "node-1", 9));
  CHECK_MESSAGE(scene.until_equal(seconds(60)), scene.state());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("objects: annotations of 1 MB") {
  expect_taken([](FakeApi& api, int version) {
    api.put(annotated(pod_object("shop", "large", "node-1", version), "notes", std::string(1 << 20, 'x')));
  });
}

// Larger than any that etcd takes: it is refused by name, whatever it costs others to tell of it.
TEST_CASE("objects: one of 20 MB") {
  FakeApi api;
  put_some(api);
  const auto large = [](const std::string& name) {
    return annotated(service_object("shop", name), "notes", std::string(20 << 20, 'x'));
  };
  api.put(large("listed"));
  Scene scene(api);
  scene.start();
  REQUIRE(scene.until([&] { return scene.told() > 0; }, seconds(60)));
  scene.keep_all({"Service"});
  api.put(large("watched"));
  api.put(large("web"));
  api.put(service_object("shop", "small"));
  CHECK(scene.until([&] { return scene.snapshot().services.contains({"shop", "small"}); }, seconds(60)));
  CHECK(scene.snapshot().services.size() == 2);
  REQUIRE(scene.snapshot().diagnostics.size() == 3);
  CHECK(scene.snapshot().diagnostics[0].id == NamespacedName{"shop", "listed"});
  CHECK(scene.snapshot().diagnostics[1].id == NamespacedName{"shop", "watched"});
  CHECK(scene.snapshot().diagnostics[2].id == NamespacedName{"shop", "web"});
  CHECK(scene.snapshot().diagnostics[2].state == model::Diagnostic::State::kStale);
  api.put(service_object("shop", "web", 2));
  api.remove("Service", "shop", "listed");
  api.remove("Service", "shop", "watched");
  CHECK(scene.until([&] { return scene.snapshot().diagnostics.empty(); }));
  CHECK(scene.difference().empty());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("objects: fields that nobody knows") {
  expect_taken([](FakeApi& api, int version) {
    auto pod = pod_object("shop", "strange", "node-1", version);
    pod.as_object()["fromTheFuture"] = {{"deep", {{"deeper", nullptr}}}};
    pod.at("spec").as_object()["numbers"] = {1.5, -0.0, 1e300, 18446744073709551615U};
    pod.at("status").as_object()["text"] = "\u0000 \"\\ \n \xF0\x9F\x98\x80";
    api.put(pod);
  });
}

TEST_CASE("objects: deeply nested") {
  expect_taken([](FakeApi& api, int version) {
    boost::json::value nested = 1;
    for (int i = 0; i < 25; ++i) nested = boost::json::object{{"a", std::move(nested)}};
    auto service = service_object("shop", "deep", version);
    service.as_object()["nested"] = std::move(nested);
    api.put(service);
  });
}

TEST_CASE("objects: one that does not decode keeps its last good version") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  scene.keep_all();
  auto wrong = pod_object("shop", "web-1", "node-1", 5);
  wrong.at("status").as_object()["podIP"] = "10.0.0";
  api.put(wrong);
  CHECK(scene.until([&] { return !scene.snapshot().diagnostics.empty(); }));
  REQUIRE(scene.snapshot().diagnostics.size() == 1);
  CHECK(scene.snapshot().diagnostics[0].id == NamespacedName{"shop", "web-1"});
  CHECK(scene.snapshot().diagnostics[0].path == "status.podIP");
  CHECK(scene.snapshot().pods.at({"shop", "web-1"}).labels.at("version") == "1");
  api.put(pod_object("shop", "web-1", "node-1", 6));
  CHECK(scene.until_equal());
  CHECK(scene.snapshot().diagnostics.empty());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

// Bytes that no API server would let in; one that lets them in must not cost us all other pods.
TEST_CASE("objects: text that is not UTF-8") {
  FakeApi api;
  put_some(api);
  const auto put_broken = [&](int version) {
    api.put_broken(annotated(pod_object("shop", "broken", "node-1", version), "notes", "@BROKEN@"), "@BROKEN@",
                   "\xff\xfe");
  };
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  scene.keep_all();
  put_broken(1);
  api.put(pod_object("shop", "web-1", "node-1", 5));
  api.put(slice_object("shop", "web-1", 5));
  CHECK(scene.until([&] { return scene.snapshot().slices.at({"shop", "web-1"})->ports.at(0).port == 5; }));
  scene.run_for(seconds(1));
  api.remove("Pod", "shop", "broken");
  api.forget_history();
  CHECK_MESSAGE(scene.until_well(seconds(60)), scene.state());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

// The watch that told of it stays in the server's history, and is asked for again and again: a list gets past it.
TEST_CASE("objects: an event that cannot be read does not stop its kind for ever") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  scene.keep_all();
  api.put_broken(annotated(pod_object("shop", "broken", "node-1"), "notes", "@BROKEN@"), "@BROKEN@", "\xff\xfe");
  api.put(pod_object("shop", "web-1", "node-1", 5));
  api.remove("Pod", "shop", "broken");
  CHECK_MESSAGE(scene.until_well(seconds(30)), scene.state());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("objects: a sandbox that is made again leaves two pods with one address for a while") {
  expect_taken([](FakeApi& api, int version) {
    api.put(pod_object("shop", "twin-a", "node-1", version, "10.0.0.99"));
    api.put(pod_object("shop", "twin-b", "node-1", version, "10.0.0.99"));
  });
}

}  // namespace
}  // namespace underpass::fake
