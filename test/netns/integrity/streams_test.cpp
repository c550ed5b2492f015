// SPDX-License-Identifier: Apache-2.0
// Thousands of random streams through the mesh: every byte, every place, every end of stream, and most of it socket to
// socket.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "test/netns/accounts.h"
#include "test/netns/scenarios/loopback_twins.h"
#include "test/support/streams.h"

namespace underpass::test {
namespace {

// Every stream was short-circuited, and a good part of the bytes was redirected.
void check_accelerated(const Accounts& accounts, const StreamsReport& report, double least_share = 0.2) {
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(report.streams > 0);
  CHECK(accounts.short_circuited() == report.streams);
  CHECK(accounts.direct() == 0);
  CHECK(static_cast<double>(accounts.redirected_bytes()) >= least_share * static_cast<double>(report.bytes));
  MESSAGE(report.streams << " streams, " << (report.bytes >> 20) << " MiB, of which redirected "
                         << (accounts.redirected_bytes() >> 20) << " MiB");
}

// Says TCPFastOpenPassive… of the pod: how often a connection was opened with data.
std::uint64_t fast_open_count(const Place& place) {
  std::uint64_t count = 0;
  run_in_netns(place.netns, [&] {
    std::ifstream netstat("/proc/thread-self/net/netstat");
    std::string names;
    std::string values;
    while (std::getline(netstat, names) && std::getline(netstat, values)) {
      std::istringstream name_words(names);
      std::istringstream value_words(values);
      std::string name;
      std::string value;
      while (name_words >> name && value_words >> value) {
        if (name == "TCPFastOpenPassive") count = std::stoull(value);
      }
    }
  });
  return count;
}

TEST_CASE("random streams in both directions, IPv4 and IPv6, arrive as they were sent") {
  const World world;
  const Accounts accounts(world);
  const StreamsReport report = run_streams({.a = world.at("a"), .b = world.at("b"), .count = 5000});
  check_accelerated(accounts, report);
}

// No thread sleeps in recv() while another sends, so nothing keeps these from being redirected in both directions at
// once.
TEST_CASE("random streams whose readers wait in poll and epoll") {
  const World world;
  const Accounts accounts(world);
  const StreamsReport report = run_streams(
      {.a = world.at("a"), .b = world.at("b"), .count = 3000, .first_seed = 100000, .adjust = [](StreamPlan& plan) {
         for (int end : {kClient, kServer}) {
           if (plan.wait[end] == Wait::kBlocking) plan.wait[end] = Wait::kEpollEdge;
         }
       }});
  check_accelerated(accounts, report, 0.35);
  CHECK(report.false_eagain == 0);
}

TEST_CASE("streams of one pod to itself, over its address and over loopback") {
  const World world;
  const Place loopback{.netns = world.at("a").netns};
  for (const Place& place : {world.at("a"), loopback}) {
    const Accounts accounts(world);
    const StreamsReport report = run_streams({.a = place, .b = place, .count = 200});
    check_accelerated(accounts, report);
  }
}

TEST_CASE("streams of small messages, where most are redirected one by one") {
  const World world;
  const Accounts accounts(world);
  const StreamsReport report =
      run_streams({.a = world.at("a"), .b = world.at("b"), .count = 300, .adjust = [](StreamPlan& plan) {
                     for (DirectionPlan& direction : plan.direction) {
                       direction.max_message = 1 + plan.seed % 200;
                       direction.max_chunk = 4096;
                       direction.bytes = 100000;
                     }
                   }});
  check_accelerated(accounts, report, 0.1);
}

TEST_CASE("a server with TCP_DEFER_ACCEPT gets what the client sent before it knew") {
  const World world;
  const Accounts accounts(world);
  const StreamsReport report =
      run_streams({.a = world.at("a"), .b = world.at("b"), .count = 400, .adjust = [](StreamPlan& plan) {
                     plan.defer_accept = true;
                     if (plan.closes_last == kClient) plan.closes_last = -1;
                     plan.direction[kClient].bytes += 10;
                     // One message, two, or many: at once.
                     if (plan.seed % 3 == 0) plan.direction[kClient].max_message = plan.direction[kClient].bytes;
                     plan.direction[kClient].pause_one_in = 1000000;
                   }});
  check_accelerated(accounts, report, 0);
  CHECK(accounts.redirected_bytes() > 0);
}

TEST_CASE("TCP Fast Open: data that rides on the SYN comes first") {
  const World world;
  for (const char* name : {"a", "b"})
    set_sysctl(world.at(name).netns, "net.ipv4.tcp_fastopen", "519");  // both sides, no cookies
  const std::uint64_t before = fast_open_count(world.at("a")) + fast_open_count(world.at("b"));
  const Accounts accounts(world);
  const StreamsReport report =
      run_streams({.a = world.at("a"), .b = world.at("b"), .count = 300, .adjust = [](StreamPlan& plan) {
                     plan.fast_open = true;
                     plan.direction[kClient].bytes += 2000;
                   }});
  INFO(report.to_string());
  CHECK(report.ok());
  const std::uint64_t opened = fast_open_count(world.at("a")) + fast_open_count(world.at("b")) - before;
  CHECK(opened == report.streams);
  CHECK(accounts.short_circuited() + accounts.direct() == report.streams);
  MESSAGE(opened << " opened with data; " << accounts.short_circuited() << " short-circuited, " << accounts.direct()
                 << " direct, " << (accounts.redirected_bytes() >> 20) << " MiB redirected of "
                 << (report.bytes >> 20));
}

TEST_CASE("the same loopback ports in two pods never meet, and both are short-circuited") {
  const World world;
  for (const int family : {AF_INET, AF_INET6}) {
    const Accounts accounts(world);
    CHECK(run_loopback_twins(world.at("a"), world.at("b"), family, [&](const Pair& in_a, const Pair& in_b) {
            for (const Pair* pair : {&in_a, &in_b}) {
              const auto row = world.ctl.connection(pair->client.get());
              REQUIRE(row);
              CHECK(row->way == "short-circuit");
              CHECK(row->source_pod == row->destination_pod);
            }
          }) == "");
    CHECK(accounts.redirected_bytes() > 0);
  }
}

TEST_CASE("a connection is direct where one end is not in the mesh, says off, or is of another namespace") {
  World world;
  world.objects.put(NamespaceObject{"other", kAccelerated});
  world.add_pod("other", "c");
  world.add_pod("shop", "off", {.short_circuit = "off"});
  world.add_pod("shop", "auto", {.short_circuit = "auto"});
  world.add_pod("shop", "out", {.mesh = "disabled"});
  world.wait_enrolled("other", "c");
  world.wait_enrolled("shop", "off", "off");
  world.wait_enrolled("shop", "auto", "");
  struct Case {
    const char* peer;
    const char* reason;
  };
  for (const auto& [peer, reason] :
       {Case{"c", "namespaces"}, Case{"off", "mode-off"}, Case{"auto", "learning"}, Case{"out", "not-local"}}) {
    for (const int family : {AF_INET, AF_INET6}) {
      CAPTURE(peer);
      CAPTURE(family);
      const Accounts accounts(world);
      const Pair pair = make_pair_between(world.at("a"), world.at(peer), family);
      exchange(pair.client.get(), pair.server.get());
      const auto row = world.ctl.connection(pair.client.get());
      REQUIRE(row);
      CHECK(row->way == "direct");
      CHECK(row->fallback_reason == reason);  // one connection teaches too little
      CHECK(accounts.redirected_bytes() == 0);
    }
  }
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
}

TEST_CASE("two namespaces are short-circuited where both say so") {
  World world({.mesh = "enabled", .short_circuit = "on", .peers = "mesh"});
  world.objects.put(NamespaceObject{"other", kAccelerated});
  world.add_pod("other", "c");
  world.wait_enrolled("other", "c");
  CHECK(way_of_new_connection(world, world.at("a"), world.at("c")) == "direct");
  world.objects.put(NamespaceObject{"other", {.mesh = "enabled", .short_circuit = "on", .peers = "mesh"}});
  CHECK(eventually(seconds(5),
                   [&] { return way_of_new_connection(world, world.at("a"), world.at("c")) == "short-circuit"; }));
}

TEST_CASE("connections tell the truth about bytes") {
  const World world;
  for (const int family : {AF_INET, AF_INET6}) {
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
    exchange(pair.client.get(), pair.server.get(), 20, 1000);
    CHECK(eventually(seconds(5), [&] {
      const auto row = world.ctl.connection(pair.client.get());
      return row && row->bytes_sent == 20000 && row->bytes_received == 20000;
    }));
    const auto row = world.ctl.connection(pair.client.get());
    REQUIRE(row);
    CHECK(row->way == "short-circuit");
    CHECK(row->source_pod == "a");
    CHECK(row->destination_pod == "b");
    MESSAGE("sent " << row->bytes_sent << ", received " << row->bytes_received << " of 20000 each");
  }
}

}  // namespace
}  // namespace underpass::test
