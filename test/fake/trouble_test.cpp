// SPDX-License-Identifier: Apache-2.0
// The cluster's source against everything that can go wrong for a while: it ends up with what there is, and on the way
// nothing is emptied, nothing goes back.
#include <doctest/doctest.h>

#include <atomic>
#include <boost/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "test/fake/objects.h"
#include "test/fake/scene.h"

namespace underpass::fake {
namespace {

using test::FakeApi;
using test::Fault;
using What = test::Fault::What;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kPods = "/api/v1/pods";
constexpr auto kPatience = seconds(40);
constexpr const char* kSlices = "/apis/discovery.k8s.io/v1/endpointslices";

// What happens to the objects while there is trouble: changed, made, removed, made again.
void change_some(FakeApi& api, int round) {
  for (int i = 0; i < 5; ++i) {
    const auto name = "web-" + std::to_string(i);
    api.put(pod_object("shop", name, "node-1", round * 10 + i + 2));
    api.put_all({slice_object("shop", name, round * 10 + 2, 3), slice_object("shop", name, round * 10 + 3, 3)});
  }
  const auto once = "once-" + std::to_string(round);
  api.put(pod_object("shop", once, "node-1"));
  if (round > 1) api.remove("Pod", "shop", "once-" + std::to_string(round - 1));
  api.put(service_object("shop", "web", round + 1));
}

struct Trouble {
  std::string name;
  std::vector<Fault> faults;
  bool relists = false;  // what it had is too old: it must list
};

// What went wrong; empty: nothing.
std::string live_through(const Trouble& trouble) {
  FakeApi api;
  put_some(api);
  api.set_bookmarks(milliseconds(200));
  Scene scene(api);
  if (!scene.start_and_sync() || !scene.until_well()) return "it did not start";
  scene.keep_all();
  for (const auto& fault : trouble.faults) api.misbehave(fault);
  if (trouble.relists) {
    api.put(pod_object("shop", "far-0", "node-2", 2));  // so that the history has gone on
    api.forget_history();
  }
  api.reset_connections();
  for (int round = 1; round <= 3; ++round) {
    change_some(api, round);
    scene.run_for(milliseconds(150));
  }
  if (!scene.until_well(kPatience)) return "it does not recover: " + scene.state();
  // It goes on as if nothing had been.
  api.behave();
  change_some(api, 4);
  if (!scene.until_equal(kPatience)) return "it does not go on: " + scene.state();
  return scene.broken_promises();
}

// Side by side, since most of the time is back-off.
void live_through_all(const std::vector<Trouble>& troubles) {
  std::vector<std::string> results(troubles.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < troubles.size(); i = next++) {
      try {
        results[i] = live_through(troubles[i]);
      } catch (const std::exception& error) {
        results[i] = error.what();
      }
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 12; ++i) threads.emplace_back(work);
  }
  for (std::size_t i = 0; i < troubles.size(); ++i) {
    CHECK_MESSAGE(results[i].empty(),
                  troubles[i].name << std::string(troubles[i].relists ? ", and a list: " : ": ") << results[i]);
  }
}

Fault with_length(What what) {
  Fault fault = Fault::make(what);
  fault.after = 10;
  return fault;
}

Fault with_tail(const std::string& tail) {
  Fault fault = Fault::make(What::kTail);
  fault.body = tail;
  return fault;
}

TEST_CASE("trouble: answers that are errors") {
  std::vector<Trouble> troubles;
  for (const bool relists : {false, true}) {
    for (const unsigned status : {400U, 401U, 403U, 404U, 409U, 410U, 500U, 502U, 503U, 504U}) {
      troubles.push_back({std::to_string(status), {Fault::answer(status).at(kPods).times(2)}, relists});
    }
    troubles.push_back({"429", {Fault::too_many_requests(1).at(kPods).times(2)}, relists});
    troubles.push_back({"all 503", {Fault::answer(503).times(25)}, relists});
  }
  live_through_all(troubles);
}

TEST_CASE("trouble: answers that are none") {
  std::vector<Trouble> troubles;
  for (const bool relists : {false, true}) {
    troubles.push_back({"html", {Fault::text(200, "text/html", "<html>log in</html>").at(kPods).times(2)}, relists});
    troubles.push_back(
        {"html 502", {Fault::text(502, "text/html", "<html>bad gateway</html>").at(kPods).times(2)}, relists});
    troubles.push_back(
        {"redirect",
         {Fault::text(302, "text/plain", "").header("Location", "https://127.0.0.1:1/x").at(kPods).times(2)},
         relists});
    troubles.push_back({"nothing", {Fault::text(200, "application/json", "").at(kPods).times(2)}, relists});
    troubles.push_back({"204", {Fault::text(204, "application/json", "").at(kPods).times(2)}, relists});
    for (const auto* body :
         {"null", "{}", "[]", "7", R"({"kind":"Status","status":"Success"})",
          R"({"kind":"PodList","apiVersion":"v1","items":[]})",
          R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"}})",
          R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":7})",
          R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[)", "\xff\xfe{}"}) {
      troubles.push_back({body, {Fault::text(200, "application/json", body).at(kPods).lists().times(2)}, relists});
    }
    troubles.push_back({"empty list, 503", {Fault::empty_list(503).at(kPods).times(2)}, relists});
    troubles.push_back({"empty list, 206", {Fault::empty_list(206).at(kPods).times(2)}, relists});
  }
  live_through_all(troubles);
}

TEST_CASE("trouble: answers that are not whole") {
  std::vector<Trouble> troubles;
  for (const std::size_t bytes : {0U, 1U, 100U, 700U, 1500U}) {
    troubles.push_back(
        {"reset after " + std::to_string(bytes), {Fault::reset_after(bytes).at(kPods).lists().times(2)}, true});
  }
  troubles.push_back({"too long", {with_length(What::kMoreLength).at(kPods).times(2)}, true});
  troubles.push_back({"too short", {with_length(What::kLessLength).at(kPods).times(2)}, true});
  troubles.push_back({"a tail", {with_tail("}garbage").at(kPods).times(2)}, true});
  troubles.push_back({"a second list", {with_tail(R"({"kind":"PodList","items":[]})").at(kPods).times(2)}, true});
  troubles.push_back({"drip", {Fault::drip().at(kPods).lists()}, true});
  live_through_all(troubles);
}

TEST_CASE("trouble: watches that end") {
  std::vector<Trouble> troubles;
  for (const std::size_t events : {0U, 1U, 3U}) {
    const auto after = " after " + std::to_string(events);
    troubles.push_back({"410" + after, {Fault::error_event(410, events).at(kPods).times(3)}});
    troubles.push_back({"500" + after, {Fault::error_event(500, events).at(kPods).times(3)}});
    troubles.push_back({"end" + after, {Fault::watch(What::kEnd, events).at(kPods).times(3)}});
    troubles.push_back({"cut" + after, {Fault::watch(What::kCut, events).at(kPods).times(3)}});
    troubles.push_back({"reset" + after, {Fault::watch(What::kReset, events).at(kPods).times(3)}});
    troubles.push_back({"410 of all" + after, {Fault::error_event(410, events).times(30)}});
    troubles.push_back({"end of all" + after, {Fault::watch(What::kEnd, events).times(30)}});
  }
  troubles.push_back({"410 as an answer", {Fault::gone().at(kPods).watches().times(3)}});
  troubles.push_back({"drip", {Fault::drip().at(kPods).watches()}});
  live_through_all(troubles);
}

TEST_CASE("trouble: watches that tell it wrongly") {
  std::vector<Trouble> troubles;
  for (const auto what : {What::kDuplicates, What::kOldBookmarks, What::kModifiedNotAdded, What::kDeletedTwice}) {
    troubles.push_back({"wrong " + std::to_string(static_cast<int>(what)), {Fault::watch(what).always()}});
    troubles.push_back({"wrong, then cut " + std::to_string(static_cast<int>(what)),
                        {Fault::watch(what), Fault::watch(What::kCut, 2).at(kPods)}});
  }
  troubles.push_back({"the other order", {Fault::watch(What::kSwap).at(kSlices).always()}});
  for (const auto* line :
       {"garbage", "{", "null", "{}", R"({"type":"ADDED"})", R"({"type":"ADDED","object":7})", "\xff\xfe",
        R"({"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1"}})", R"({"type":"NEWS","object":{}})",
        R"({"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{}}})",
        R"({"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{}}})",
        R"({"type":"ERROR","object":null})"}) {
    troubles.push_back({line, {Fault::line(line, 1).at(kPods).times(2)}});
  }
  live_through_all(troubles);
}

// Somebody else's answer, by a proxy that mixes them up.
TEST_CASE("trouble: a list of another kind is not believed") {
  const auto* list = R"({"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[]})";
  live_through_all({{"nodes for pods", {Fault::text(200, "application/json", list).at(kPods).lists().times(2)}, true}});
}

// Only what a whole list leaves out is gone.
TEST_CASE("trouble: a list of 200 that is empty is believed") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  for (int i = 0; i < 5; ++i) api.misbehave(Fault::watch(What::kEnd).at(kPods));
  api.misbehave(Fault::empty_list(200).at(kPods));
  api.forget_history();
  api.put(account_object("shop", "later"));  // of a kind that nobody watches
  api.forget_history();
  api.reset_connections();
  CHECK(scene.until([&] { return scene.snapshot().pods.empty(); }));
  CHECK(scene.snapshot().slices.size() == 5);
}

TEST_CASE("trouble: a relist in which nothing changed tells nothing new") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  REQUIRE(scene.until_well());
  scene.keep_all();
  const auto lists = scene.kind("EndpointSlice").lists;
  api.put(account_object("shop", "later"));
  api.forget_history();
  api.reset_connections();
  CHECK(scene.until([&] { return scene.kind("EndpointSlice").lists > lists; }));
  CHECK(scene.until_well());
  CHECK(scene.replaced() == 0);
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

}  // namespace
}  // namespace underpass::fake
