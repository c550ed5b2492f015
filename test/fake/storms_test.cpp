// SPDX-License-Identifier: Apache-2.0
// The cluster's source when trouble lasts: it waits longer and longer between its attempts, costs no CPU, asks for no
// list where a watch can go on, and loses nothing. What is counted is what the server saw.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <future>
#include <string>
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
constexpr double kBusy = 0.2;  // seconds of CPU in one of time

// Changes ten times a second while the source runs.
void churn(FakeApi& api, Scene& scene, int tenths, int& version) {
  for (int i = 0; i < tenths; ++i) {
    ++version;
    api.put(pod_object("shop", "web-" + std::to_string(version % 5), "node-1", version));
    api.put(slice_object("shop", "web-" + std::to_string(version % 5), version, 3));
    scene.run_for(milliseconds(100));
  }
}

struct Storm {
  std::string name;
  Fault fault;
  std::size_t lists;  // at most, of each kind
  std::size_t all;    // requests of all kinds
};

void live_through(const Storm& storm) {
  CAPTURE(storm.name);
  FakeApi api;
  put_some(api);
  Scene scene(api, {.tuning = {}});
  REQUIRE(scene.start_and_sync());
  REQUIRE(scene.until_well());
  scene.keep_all();
  api.forget_requests();
  int version = 1;
  api.misbehave(storm.fault);
  api.reset_connections();
  const double cpu = scene.cpu_seconds();
  churn(api, scene, 50, version);
  CHECK(scene.cpu_seconds() - cpu < 5 * kBusy);
  for (const auto& kind : kKinds) {
    CAPTURE(kind);
    CHECK(api.count("list", scene.kind(kind).path) <= storm.lists);
  }
  CHECK(api.count("") <= storm.all);
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
  api.behave();
  CHECK(scene.until_well(seconds(40)));
  churn(api, scene, 5, version);
  CHECK(scene.until_equal());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

// Ten kinds, five seconds; all storms at the same time, since they mostly wait.
TEST_CASE("storm: watches are resumed where they can be, lists are few, nothing is lost") {
  const std::vector<Storm> storms{
      {"every watch dies with 410 after an event", Fault::error_event(410, 1).always(), 8, 120},
      {"every watch dies with 410 at once", Fault::error_event(410, 0).always(), 8, 160},
      {"every watch is refused with 410", Fault::gone().watches().always(), 8, 160},
      {"watches end after an event", Fault::watch(What::kEnd, 1).always(), 0, 200},
      {"watches end at once", Fault::watch(What::kEnd, 0).always(), 0, 120},
      {"watches are reset in the middle of an object", Fault::watch(What::kReset, 0).always(), 0, 120},
      {"500", Fault::answer(500).always(), 8, 120},
      {"401", Fault::answer(401).always(), 8, 120},
      {"connections are reset at once", Fault::reset_after(0).always(), 8, 160},
  };
  std::vector<std::future<void>> running;
  for (const auto& storm : storms) running.push_back(std::async(std::launch::async, [&storm] { live_through(storm); }));
  for (auto& storm : running) storm.get();
}

TEST_CASE("storm: who is told to wait waits") {
  FakeApi api;
  put_some(api);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  REQUIRE(scene.until_well());
  scene.keep_all();
  api.forget_requests();
  api.misbehave(Fault::too_many_requests(3).at(kPods).times(1));
  api.reset_connections();
  CHECK(scene.until([&] { return api.count("", kPods) == 1; }));
  const auto refused = test::Clock::now();
  CHECK(scene.until([&] { return api.count("", kPods) == 2; }));
  const auto waited = test::Clock::now() - refused;
  CHECK(waited > milliseconds(2500));
  CHECK(waited < seconds(8));
  CHECK(scene.until_well());
  CHECK(api.count("list") == 0);
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("storm: after silence and a reconnect a watch goes on where it was, also when only bookmarks came") {
  FakeApi api;
  put_some(api);
  api.set_bookmarks(milliseconds(100));
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  REQUIRE(scene.until_well());
  scene.keep_all();
  // Many changes that this source does not see; then what is older than the last bookmark is forgotten.
  for (int i = 0; i < 50; ++i) api.put(pod_object("shop", "far-0", "node-2", i));
  api.forget_history();
  const auto at = std::to_string(api.version());
  scene.run_for(milliseconds(500));
  api.forget_requests();
  api.reset_connections();
  CHECK(scene.until([&] { return api.open_watches(kPods) == 1; }));
  CHECK(scene.until_well());
  CHECK(api.count("list") == 0);
  for (const auto& request : api.requests()) {
    if (request.verb == "watch") CHECK(request.query.at("resourceVersion") == at);
  }
}

}  // namespace
}  // namespace underpass::fake
