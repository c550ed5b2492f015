// SPDX-License-Identifier: Apache-2.0
// Random changes and random trouble, for some seconds, from a seed that is printed: UNDERPASS_SEED replays it. And a
// source that is destroyed at any moment.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>
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

unsigned seed_of_run() {
  const char* given = std::getenv("UNDERPASS_SEED");
  return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device()();
}

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

 private:
  std::mt19937 random_;
};

const std::vector<std::string> kPaths{"",
                                      "/api/v1/pods",
                                      "/api/v1/services",
                                      "/apis/discovery.k8s.io/v1/endpointslices",
                                      "/apis/security.istio.io/v1/authorizationpolicies",
                                      "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"};

Fault random_fault(Dice& dice) {
  const auto some = static_cast<std::size_t>(dice.below(4));
  const auto bytes = static_cast<std::size_t>(dice.below(3000));
  const std::vector<std::function<Fault()>> makers{
      [&] { return Fault::answer(500); },
      [&] { return Fault::answer(503); },
      [&] { return Fault::answer(401); },
      [&] { return Fault::too_many_requests(1); },
      [&] { return Fault::gone(); },
      [&] { return Fault::text(200, "text/html", "<html>log in</html>"); },
      [&] { return Fault::empty_list(503); },
      [&] { return Fault::reset_after(bytes).lists(); },
      [&] { return Fault::error_event(410, some); },
      [&] { return Fault::error_event(500, some); },
      [&] { return Fault::line("garbage", some); },
      [&] { return Fault::watch(What::kEnd, some); },
      [&] { return Fault::watch(What::kCut, some); },
      [&] { return Fault::watch(What::kReset, some); },
      [&] { return Fault::watch(What::kDuplicates); },
      [&] { return Fault::watch(What::kDeletedTwice); },
      [&] { return Fault::watch(What::kModifiedNotAdded); },
      [&] { return Fault::watch(What::kOldBookmarks); },
  };
  Fault fault = makers.at(static_cast<std::size_t>(dice.below(static_cast<int>(makers.size()))))();
  fault.path = kPaths.at(static_cast<std::size_t>(dice.below(static_cast<int>(kPaths.size()))));
  fault.left = 1 + dice.below(3);
  return fault;
}

void change(FakeApi& api, Dice& dice, int& version) {
  const auto name = "r-" + std::to_string(dice.below(8));
  ++version;
  const auto remove = [&](std::string_view kind) {
    api.put(kind == "Pod" ? pod_object("shop", name, "node-1", version)
                          : policy_object("shop", name, 1 + version % 60000));
    api.remove(kind, "shop", name);
  };
  switch (dice.below(9)) {
    case 0:
      return remove("Pod");
    case 1:
      return remove("AuthorizationPolicy");
    case 2:
      return api.put(pod_object("shop", "web-" + std::to_string(dice.below(5)), "node-1", version));
    case 3:
      return api.put(pod_object("shop", "far", dice.below(2) == 0 ? "node-2" : "", version));
    case 4:
      return api.put(service_object("shop", name, 1 + version % 60000));
    case 5:
      return api.put(policy_object("shop", name, 1 + version % 60000));
    case 6:
      return api.put(namespace_object("bank", version));
    case 7:
      return api.put_all(
          {slice_object("shop", name, 1 + version % 60000, 2), pod_object("shop", name, "node-1", version)});
    default:
      return api.put(slice_object("shop", "web-" + std::to_string(dice.below(5)), 1 + version % 60000, 2));
  }
}

void trouble(FakeApi& api, Dice& dice) {
  switch (dice.below(8)) {
    case 0:
      return api.forget_history();
    case 1:
    case 2:
      return api.reset_connections();
    case 3:
      api.stop();
      return api.start();
    default:
      static_cast<void>(api.misbehave(random_fault(dice)));
  }
}

TEST_CASE("torture: random changes and random trouble") {
  const auto seed = seed_of_run();
  std::cout << "UNDERPASS_SEED=" << seed << std::endl;
  CAPTURE(seed);
  Dice dice(seed);
  FakeApi api;
  put_some(api);
  api.set_bookmarks(milliseconds(100));
  api.keep_history(60);
  Scene scene(api);
  REQUIRE(scene.start_and_sync());
  scene.keep_all();
  int version = 1;
  const auto end = test::Clock::now() + seconds(15);
  while (test::Clock::now() < end) {
    for (int i = dice.below(4); i > 0; --i) change(api, dice, version);
    if (dice.below(6) == 0) trouble(api, dice);
    scene.run_for(milliseconds(dice.below(30)));
  }
  api.behave();
  CHECK_MESSAGE(scene.until_well(seconds(60)), scene.state());
  CHECK_MESSAGE(scene.broken_promises().empty(), scene.broken_promises());
}

TEST_CASE("torture: destroyed at any moment") {
  const auto seed = seed_of_run();
  std::cout << "UNDERPASS_SEED=" << seed << std::endl;
  CAPTURE(seed);
  Dice dice(seed);
  FakeApi api;
  put_some(api);
  for (int i = 0; i < 150; ++i) {
    api.behave();
    Scene scene(api);
    scene.start();
    for (int j = dice.below(3); j > 0; --j) api.misbehave(random_fault(dice));
    if (dice.below(3) == 0) static_cast<void>(scene.until([&] { return scene.told() > 0; }, milliseconds(500)));
    scene.run_for(milliseconds(dice.below(60)));
    const int told = scene.told();
    scene.destroy_source();
    api.put(pod_object("shop", "web-1", "node-1", i + 2));
    scene.run_for(milliseconds(10));
    CHECK(scene.told() == told);
  }
}

TEST_CASE("torture: destroyed by its own listener") {
  FakeApi api;
  put_some(api);
  test::TempFolder folder;
  boost::asio::io_context io;
  auto client = k8s::ApiClient::open(io, {.kubeconfig = api.kubeconfig(folder.path()), .user_agent = "test"});
  REQUIRE(client.has_value());
  std::unique_ptr<k8s::ApiSource> source;
  int told = 0;
  source = k8s::ApiSource::make(io, **client, {}, [&](const k8s::Contents&) {
    ++told;
    source.reset();
  });
  source->start();
  const auto end = test::Clock::now() + seconds(10);
  while (source && test::Clock::now() < end) io.run_for(milliseconds(5));
  api.put(pod_object("shop", "web-1", "node-1", 2));
  if (io.stopped()) io.restart();
  io.run_for(milliseconds(200));
  CHECK(told == 1);
}

}  // namespace
}  // namespace underpass::fake
