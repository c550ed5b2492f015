// SPDX-License-Identifier: Apache-2.0
// Which backend a client gets: session affinity, and Maglev by annotation. Evenness is for the unit tests.
#include <doctest/doctest.h>

#include <ctime>

#include "test/netns/services/scene.h"

namespace underpass::test {
namespace {

using Names = std::set<std::string>;

Address web_address() { return Address::of(kVip4, 80); }

ServiceObject sticky_service(int seconds) {
  ServiceObject service = Scene::web_service();
  service.affinity_seconds = seconds;
  return service;
}

std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

TEST_CASE("session affinity: a pod stays with its backend, whatever comes and goes around it") {
  Scene scene;
  scene.put_and_wait(sticky_service(10800), {"web-1", "web-2"});
  const Names first = who_answers(scene.client(), web_address(), 50);
  REQUIRE(first.size() == 1);
  const std::string mine = *first.begin();
  const std::string other = mine == "web-1" ? "web-2" : "web-1";
  REQUIRE(scene.world.at(mine).v4 != scene.world.at(other).v4);

  for (const char* more : {"web-3", "web-4", "web-5"}) scene.add_backend(more);
  scene.wait_backends(web_address(), {"web-1", "web-2", "web-3", "web-4", "web-5"});
  CHECK(who_answers(scene.client(), web_address(), 50) == first);
  scene.set_ready(other, false);
  scene.wait_backends(web_address(), {mine, "web-3", "web-4", "web-5"});
  CHECK(who_answers(scene.client(), web_address(), 50) == first);
  for (const char* gone : {"web-3", "web-4"}) scene.set_ready(gone, false);
  scene.set_ready(other, true);
  scene.wait_backends(web_address(), {mine, other, "web-5"});
  CHECK(who_answers(scene.client(), web_address(), 50) == first);

  scene.set_ready(mine, false);
  scene.wait_backends(web_address(), {other, "web-5"});
  const Names second = who_answers(scene.client(), web_address(), 50);
  CHECK(second.size() == 1);
  CHECK(second != first);
  // Another pod has its own.
  CHECK(who_answers(scene.world.at("b"), web_address(), 50).size() == 1);
}

TEST_CASE("session affinity ends after its timeout without a connection") {
  Scene scene;
  scene.put_and_wait(sticky_service(1), {"web-1", "web-2"});
  const ServiceTables tables = scene.tables();
  const std::uint32_t id = tables.service(web_address()).value().id;
  Names answered = who_answers(scene.client(), web_address(), 20);
  CHECK(answered.size() == 1);
  for (int i = 0; i < 20 && answered.size() == 1; ++i) {
    const bool expired = eventually(seconds(5), [&] {
      const auto mine = tables.affinity(scene.world.net.cookie("a"), id);
      return mine && monotonic_ns() - mine->last_ns > 1'000'000'000;
    });
    REQUIRE(expired);
    answered.merge(who_answers(scene.client(), web_address(), 1));
  }
  CHECK(answered == Names{"web-1", "web-2"});
}

TEST_CASE("session affinity holds for datagrams too") {
  Scene scene;
  scene.put_and_wait(sticky_service(10800), {"web-1", "web-2"});
  const Address vip = Address::of(kVip4, 53);
  Names answered;
  for (int i = 0; i < 40; ++i) {
    const UniqueFd fd = udp_socket(scene.client(), AF_INET);
    answered.insert(ask_udp(fd, vip).backend);
    const UniqueFd connected = udp_socket(scene.client(), AF_INET);
    REQUIRE(connect_udp(connected, vip) == 0);
    answered.insert(ask_connected(connected).backend);
  }
  CHECK(answered.size() == 1);
}

TEST_CASE("maglev: all connections of a pod go to one backend, and stay when another goes") {
  Scene scene;
  for (const char* more : {"web-3", "web-4"}) scene.add_backend(more);
  ServiceObject service = Scene::web_service();
  service.annotations = {{"underpass.dev/load-balancing", "maglev"}};
  scene.world.objects.put(service);
  const ServiceTables tables = scene.tables();
  // Every slot is there, and all pods have some.
  const auto pods_behind = [&] {
    const std::multiset<std::string> slots = tables.slots(web_address());
    return Names(slots.begin(), slots.end());
  };
  REQUIRE(eventually(seconds(20), [&] { return pods_behind().size() == 4; }));
  CHECK_FALSE(pods_behind().contains("missing"));
  const Names mine = who_answers(scene.client(), web_address(), 50);
  REQUIRE(mine.size() == 1);
  scene.set_ready(mine.contains("web-1") ? "web-2" : "web-1", false);
  REQUIRE(eventually(seconds(20), [&] { return pods_behind().size() == 3; }));
  CHECK_FALSE(pods_behind().contains("missing"));
  CHECK(who_answers(scene.client(), web_address(), 50) == mine);
  scene.set_ready(*mine.begin(), false);
  REQUIRE(eventually(seconds(20), [&] { return pods_behind().size() == 2; }));
  const Names next = who_answers(scene.client(), web_address(), 50);
  CHECK(next.size() == 1);
  CHECK(next != mine);
}

}  // namespace
}  // namespace underpass::test
