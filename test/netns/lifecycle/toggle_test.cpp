// SPDX-License-Identifier: Apache-2.0
// Labels and annotations that come and go: within a second for new connections, without a byte lost for live ones.
#include <doctest/doctest.h>

#include "test/netns/accounts.h"
#include "test/netns/lifecycle/watch.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

// How long after `change` new connections between a and b are `way`, one after the other, of both families.
Milliseconds time_until(const World& world, const std::string& way, const std::function<void()>& change) {
  const auto begin = Clock::now();
  change();
  for (const int family : {AF_INET, AF_INET6}) {
    const bool came =
        eventually(seconds(5), [&] { return way_in_kernel(world, world.at("a"), world.at("b"), family) == way; });
    CHECK_MESSAGE(came, "new connections did not become " << way << "\n" << world.agent.log());
  }
  return Clock::now() - begin;
}

TEST_CASE("a label makes new connections short-circuited within a second, and its going makes them plain") {
  const World world(Settings{});
  const auto label = [&](const Settings& settings) {
    return [&world, settings] { world.objects.put(NamespaceObject{"shop", settings}); };
  };
  CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "none");
  const Milliseconds on = time_until(world, "short-circuit", label(kAccelerated));
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  const Milliseconds off = time_until(world, "none", label({}));
  const Milliseconds again = time_until(world, "short-circuit", label(kAccelerated));
  const Milliseconds disabled = time_until(world, "none", label({.mesh = "disabled", .short_circuit = "on"}));
  MESSAGE("on after " << on.count() << " ms, off after " << off.count() << ", on " << again.count() << ", disabled "
                      << disabled.count());
  for (const Milliseconds& time : {on, off, again, disabled}) CHECK(time < seconds(1));
}

TEST_CASE("a Namespace object that is deleted takes its pods out") {
  const World world;
  const Milliseconds gone = time_until(world, "none", [&] { world.objects.remove_namespace("shop"); });
  CHECK(gone < seconds(1));
}

TEST_CASE("the annotation off, on, off: way direct, short-circuit, direct") {
  const World world({.mesh = "enabled", .short_circuit = "off"});
  const auto annotate = [&](const char* value) {
    return [&world, value] { world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = value}}); };
  };
  CHECK(way_in_kernel(world, world.at("a"), world.at("b")) == "direct");
  CHECK(time_until(world, "short-circuit", annotate("on")) < seconds(1));
  CHECK(time_until(world, "direct", annotate("off")) < seconds(1));
  CHECK(time_until(world, "short-circuit", annotate("on")) < seconds(1));
  CHECK(time_until(world, "direct", annotate("auto")) < seconds(1));
}

TEST_CASE("the Pod's label and annotation win over the Namespace's") {
  World world;
  PodObject pod = world.pod_object("shop", "b");
  pod.settings = {.short_circuit = "off"};
  CHECK(time_until(world, "direct", [&] { world.objects.put(pod); }) < seconds(1));
  pod.settings = {.mesh = "disabled"};
  CHECK(time_until(world, "direct", [&] { world.objects.put(pod); }) < seconds(1));
  world.wait_not_enrolled("shop", "b");
  pod.settings = {};
  CHECK(time_until(world, "short-circuit", [&] { world.objects.put(pod); }) < seconds(1));
  world.objects.put(NamespaceObject{"shop", {.mesh = "disabled"}});
  pod.settings = {.mesh = "enabled"};
  world.objects.put(pod);
  world.wait_not_enrolled("shop", "a");
  CHECK(eventually(seconds(5), [&] { return world.ctl.pod("shop/b")->enrolled; }));
}

// A connection that lives through the change, with bytes queued while it comes.
TEST_CASE("a live connection loses no byte when its label goes, and stays plain") {
  for (const int family : {AF_INET, AF_INET6}) {
    for (const char* file : {"namespace", "pod"}) {
      CAPTURE(family);
      CAPTURE(file);
      const World world;
      const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
      exchange(pair.client.get(), pair.server.get());
      std::string queued(200000, '\0');
      Payload(1).fill(0, queued);
      send_all(pair.client.get(), queued);
      REQUIRE(world.pinned.budget_used(0) > 0);
      if (std::string(file) == "namespace") {
        world.objects.put(NamespaceObject{"shop", {}});
      } else {
        PodObject pod = world.pod_object("shop", "b");
        pod.settings = {.mesh = "disabled"};
        world.objects.put(pod);
      }
      world.wait_not_enrolled("shop", "b");
      std::string more(200000, '\0');
      Payload(1).fill(queued.size(), more);
      send_all(pair.client.get(), more);
      CHECK(receive_exactly(pair.server.get(), queued.size()) == queued);
      CHECK(receive_exactly(pair.server.get(), more.size()) == more);
      const std::uint64_t redirected = world.redirected();
      exchange(pair.client.get(), pair.server.get(), 50);
      CHECK(world.redirected() == redirected);
      CHECK(eventually(seconds(5), [&] { return world.pinned.budget_used(0) == 0; }));
      const auto row = world.ctl.connection(pair.client.get());
      if (row) CHECK(eventually(seconds(5), [&] { return world.ctl.connection(pair.client.get())->way == "direct"; }));
    }
  }
}

// `change` is called again and again, 50 to 200 ms apart, under traffic.
void flap(const World& world, const std::function<void(bool on)>& change, int times) {
  const Accounts accounts(world);
  Traffic traffic({.a = world.at("a"), .b = world.at("b")});
  Random random(5);
  for (int i = 0; i < times && !traffic.failed(); ++i) {
    change(i % 2 == 1);
    (void)eventually(milliseconds(50 + random.below(150)), [&] { return traffic.failed(); });
  }
  change(true);
  for (const int family : {AF_INET, AF_INET6}) {
    CHECK(eventually(seconds(5),
                     [&] { return way_in_kernel(world, world.at("a"), world.at("b"), family) == "short-circuit"; }));
  }
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(report.streams > 50);
  CHECK(accounts.short_circuited() > 0);
  CHECK(accounts.redirected_bytes() > 0);
  MESSAGE(times << " changes, " << report.streams << " streams, " << (report.bytes >> 20)
                << " MiB, of which redirected " << (accounts.redirected_bytes() >> 20) << "; connections short-circuit "
                << accounts.short_circuited() << ", direct " << accounts.direct());
  CHECK(eventually(seconds(5), [&] { return world.pinned.budget_used(0) == 0; }));
}

TEST_CASE("the namespace's label flaps under traffic") {
  World world;
  flap(world, [&](bool on) { world.objects.put(NamespaceObject{"shop", on ? kAccelerated : Settings{}}); }, 80);
}

TEST_CASE("the annotation flaps under traffic") {
  World world;
  flap(
      world,
      [&](bool on) {
        world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = on ? "on" : "off"}});
      },
      80);
}

TEST_CASE("one pod's label flaps under traffic") {
  World world;
  flap(
      world,
      [&](bool on) {
        PodObject pod = world.pod_object("shop", "b");
        pod.settings.mesh = on ? "enabled" : "disabled";
        world.objects.put(pod);
      },
      80);
}

TEST_CASE("the kill switch flaps under traffic") {
  World world;
  flap(
      world,
      [&](bool on) {
        up_config config = world.pinned.config();
        config.short_circuit = on ? 1 : 0;
        world.pinned.set_config(config);
      },
      80);
}

}  // namespace
}  // namespace underpass::test
