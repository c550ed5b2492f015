// SPDX-License-Identifier: Apache-2.0
// Peers, pods and network namespaces that go away in the middle of things.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstring>

#include <boost/json.hpp>

#include "test/netns/accounts.h"
#include "test/netns/lifecycle/watch.h"
#include "test/support/payload.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

// Nothing of closed connections stays in the maps.
void check_forgotten(const World& world) {
  const bool forgotten = eventually(seconds(10), [&] { return world.pinned.entries("up_conns") == 0; });
  CHECK_MESSAGE(forgotten, world.ctl.run({"map", "dump", "up_conns"}).out);
  CHECK(eventually(seconds(10), [&] { return world.pinned.budget_used(0) == 0; }));
  CHECK(eventually(seconds(10), [&] { return world.pinned.entries("up_sources") == 0; }));
}

// No connection between a and this pod is left: TCP itself is through with them.
void check_forgotten_in(const World& world, const std::string& pod) {
  const NetnsCookie cookie = world.net.cookie(pod);
  CHECK(eventually(seconds(10), [&] {
    for (const ConnectionRow& row : world.ctl.connections()) {
      if (row.destination_pod == pod || row.source_pod == pod) return false;
    }
    return world.pinned.budget_used(cookie) == 0;
  }));
}

struct Survivor {
  UniqueFd fd;
  std::uint64_t received = 0;
  std::string how_reading_ended;
  std::string how_writing_ended;
};

// Reads (and checks) and writes until both have ended.
void talk(Survivor& survivor) {
  Task writer(
      [&] {
        const std::string bytes(5000, 'y');
        while (true) {
          if (::send(survivor.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) break;
        }
        survivor.how_writing_ended = std::strerror(errno);
      },
      survivor.fd.get());
  std::string buffer(65536, '\0');
  while (true) {
    (void)readable(survivor.fd.get(), seconds(1));
    const ssize_t n = ::recv(survivor.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) continue;
    if (n <= 0) {
      survivor.how_reading_ended = n == 0 ? "end" : std::strerror(errno);
      break;
    }
    if (Payload(99).first_difference(survivor.received, {buffer.data(), static_cast<std::size_t>(n)})) {
      survivor.how_reading_ended = "wrong byte after " + std::to_string(survivor.received);
      break;
    }
    survivor.received += static_cast<std::uint64_t>(n);
  }
  const bool ended = eventually(seconds(10), [&] { return writer.done(); });
  if (!ended) ::shutdown(survivor.fd.get(), SHUT_RDWR);
  writer.join();
  if (!ended) survivor.how_writing_ended = "not at all";
}

TEST_CASE("a peer that is killed: the survivor has read a prefix and learns of it") {
  const World world;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const bool deaf : {false, true}) {
      CAPTURE(family);
      CAPTURE(deaf);
      const Accounts accounts(world);
      const UniqueFd listener = listen_at(world.at("b"), family);
      const Address to = local_address(listener.get());
      Command command{.argv = {built_program("netns_peer"), world.at("b").ip(family), std::to_string(to.port())},
                      .netns = world.at("a").netns};
      if (deaf) command.argv.emplace_back("deaf");
      Process peer(command);
      Survivor survivor{.fd = accept_from(listener.get())};
      Task talking([&] { talk(survivor); }, survivor.fd.get());
      const bool warm = eventually(seconds(10), [&] { return accounts.redirected_bytes() > (1u << 20); });
      REQUIRE_MESSAGE(warm, boost::json::serialize(world.ctl.json({"connections"})));
      peer.kill();
      CHECK(eventually(seconds(15), [&] { return talking.done(); }));
      talking.join();
      MESSAGE("reading ended with: " << survivor.how_reading_ended << " after " << survivor.received
                                     << " bytes, writing with: " << survivor.how_writing_ended);
      CHECK((survivor.how_reading_ended == "end" || survivor.how_reading_ended == std::strerror(ECONNRESET)));
      CHECK((survivor.how_writing_ended == std::strerror(EPIPE) ||
             survivor.how_writing_ended == std::strerror(ECONNRESET)));
      survivor.fd.reset();
      check_forgotten(world);
    }
  }
}

// What the client reads after the server closed without having read everything.
void check_close_with_unread(const char* peer, const Settings& settings, const std::string& expected) {
  World world;
  if (std::string(peer) != "b") {
    world.add_pod("shop", peer, settings);
    world.wait_enrolled("shop", peer, *settings.short_circuit);
  }
  for (const int family : {AF_INET, AF_INET6}) {
    CAPTURE(family);
    Pair pair = make_pair_between(world.at("a"), world.at(peer), family);
    exchange(pair.client.get(), pair.server.get());
    send_all(pair.client.get(), "unread");
    REQUIRE(readable(pair.server.get(), seconds(5)));
    pair.server.reset();
    char byte = 0;
    REQUIRE(readable(pair.client.get(), seconds(5)));
    const ssize_t n = ::recv(pair.client.get(), &byte, 1, 0);
    const std::string got = n == 0 ? "end" : std::strerror(errno);
    CHECK(got == expected);
  }
}

TEST_CASE("over TCP a peer that closes with unread bytes resets the connection") {
  check_close_with_unread("plain", {.short_circuit = "off"}, std::strerror(ECONNRESET));
}

// The kernel looks for unread bytes in the TCP queue alone.
TEST_CASE("known difference: a peer that closes with unread redirected bytes ends the stream in order") {
  check_close_with_unread("b", {}, "end");
}

TEST_CASE("the name of a pod's network namespace goes under traffic: what lives goes on, others are served") {
  World world;
  world.add_pod("shop", "c");
  world.wait_enrolled("shop", "c");
  // No new streams: nobody gets into the namespace once its name is gone.
  Traffic traffic({.a = world.at("a"), .b = world.at("b"), .lasting = 8, .renewed = 0});
  const Accounts accounts(world);
  REQUIRE(eventually(seconds(10), [&] { return accounts.redirected_bytes() > (1u << 20); }));
  world.net.unname("b");
  world.wait_not_enrolled("shop", "b");
  const std::optional<PodRow> pod = world.ctl.pod("shop/b");
  REQUIRE(pod);
  MESSAGE(pod->reason);
  CHECK(pod->reason.find(world.at("b").netns) != std::string::npos);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("c")) == "short-circuit");
  const StreamsReport report = traffic.stop();
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(world.agent.running());
  check_forgotten(world);
}

TEST_CASE("a pod goes with everything in it: nothing of it stays, others are served") {
  World world;
  world.add_pod("shop", "c");
  world.wait_enrolled("shop", "c");
  const NetnsCookie cookie = world.net.cookie("b");
  {
    Traffic others({.a = world.at("a"), .b = world.at("c"), .lasting = 2, .renewed = 1});
    {
      Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
      exchange(pair.client.get(), pair.server.get());
      send_all(pair.client.get(), std::string(100000, 'x'));
      // The runtime kills the processes, then removes the link and the namespace; the API server's word comes last.
      pair.server.reset();
      char byte = 0;
      CHECK(::recv(pair.client.get(), &byte, 1, 0) <= 0);
    }
    check_forgotten_in(world, "b");
    world.net.remove("b");
    CHECK(eventually(seconds(10), [&] { return !world.pinned.pod(cookie); }));
    world.objects.remove_pod("shop", "b");
    CHECK(eventually(seconds(10), [&] { return !world.ctl.pod("shop/b"); }));
    let_run(others, 10);
    const StreamsReport report = others.stop();
    INFO(report.to_string());
    CHECK(report.ok());
  }
  CHECK(world.pinned.entries("up_pods") == 2);
  CHECK(world.pinned.entries("up_ips") == 4);
  check_forgotten(world);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("c")) == "short-circuit");
}

TEST_CASE("a pod that comes back with another network namespace is the new one") {
  World world;
  const NetnsCookie before = world.net.cookie("b");
  world.net.remove("b");
  CHECK(eventually(seconds(10), [&] { return !world.pinned.pod(before); }));
  const Place& again = world.net.add("again");
  PodObject pod{.ns = "shop", .name = "b", .node = kNode, .netns = again.netns, .ips = {again.v4, again.v6}};
  world.objects.put(pod);
  world.wait_enrolled("shop", "b");
  CHECK(world.pinned.pod(world.net.cookie("again")));
  CHECK(way_of_new_connection(world, world.at("a"), again) == "short-circuit");
}

TEST_CASE("a connection that is refused, or never answered, leaves nothing") {
  World world;
  for (const int family : {AF_INET, AF_INET6}) {
    UniqueFd client = socket_in(world.at("a").netns, family, SOCK_STREAM);
    const Address nobody = Address::of(world.at("b").ip(family), 1);
    CHECK(::connect(client.get(), nobody.get(), nobody.size) == -1);
    CHECK(errno == ECONNREFUSED);
    client.reset();
    world.net.cut("b");
    client = socket_in(world.at("a").netns, family, SOCK_STREAM);
    set_nonblocking(client.get(), true);
    CHECK(::connect(client.get(), nobody.get(), nobody.size) == -1);
    client.reset();
    world.net.join("b");
  }
  check_forgotten(world);
}

}  // namespace
}  // namespace underpass::test
