// SPDX-License-Identifier: Apache-2.0
// Applications whose ports, or whose ways, get near the worker's.
#include <doctest/doctest.h>

#include <netinet/in.h>

#include <fstream>
#include <iostream>

#include "test/netns/workers/churn.h"
#include "test/netns/workers/scene.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

Place everywhere_in(const Place& pod) { return {.netns = pod.netns, .v4 = "0.0.0.0", .v6 = "::"}; }

// A connection from there to this address, accepted by the listener.
void check_reaches(const Place& from, const std::string& ip, int listener) {
  const UniqueFd client = connect_from(from, Address::of(ip, local_address(listener).port()));
  const UniqueFd server = accept_from(listener);
  exchange(client.get(), server.get(), 1);
}

TEST_CASE("ports: an application that has the worker's usual ports keeps them, and is reached through it") {
  TwoWorkers two;
  const Place& d = two.scene.world.net.add("d");
  const UniqueFd on_15001 = listen_at(everywhere_in(d), AF_INET, {}, 15001);
  const UniqueFd on_15006 = listen_at(everywhere_in(d), AF_INET, {}, 15006);
  two.scene.world.objects.put(two.scene.world.pod_object("shop", "d"));
  two.scene.wait_captured("d");
  const auto row = two.scene.world.pinned.worker(two.scene.world.net.cookie("d"));
  REQUIRE(row);
  CHECK(ntohs(row->port4) != 15001);
  CHECK(ntohs(row->port6) == 15001);
  for (const int listener : {on_15001.get(), on_15006.get()}) {
    const auto proxied = two.scene.world.established(UP_WAY_PROXIED);
    check_reaches(two.at("out"), d.v4, listener);
    check_reaches(two.at("a"), d.v4, listener);
    CHECK(two.scene.world.established(UP_WAY_PROXIED) == proxied + 2);
    check_reaches(d, "127.0.0.1", listener);
    check_reaches(d, d.v4, listener);
  }
  CHECK(two.way("d", "out") == "proxied");
}

TEST_CASE("ports: who dials the worker itself is refused, once") {
  const TwoWorkers two;
  for (const auto& [ip, port] :
       {std::pair<std::string, int>{"127.0.0.1", 15001}, {"127.0.0.1", 15006}, {"::1", 15001}, {"::1", 15006}}) {
    CAPTURE(ip);
    CAPTURE(port);
    const auto proxied = two.scene.world.established(UP_WAY_PROXIED);
    const UniqueFd fd = connect_from(two.at("a"), Address::of(ip, static_cast<std::uint16_t>(port)));
    CHECK(ends_with_error(fd.get()));
    CHECK(two.scene.world.established(UP_WAY_PROXIED) <= proxied + 1);
    CHECK(eventually(kSoon, [&] { return two.scene.world.pinned.entries("up_conns") == 0; }));
  }
  CHECK(two.way("a", "b") == "proxied");
  // By the pod's address nobody is there.
  for (const std::string from : {"out", "b", "c"})
    for (const int port : {15001, 15006}) {
      CAPTURE(from);
      const UniqueFd fd = socket_in(two.at(from).netns, AF_INET, SOCK_STREAM);
      const Address to = Address::of(two.at("a").v4, static_cast<std::uint16_t>(port));
      if (::connect(fd.get(), to.get(), to.size) == 0) CHECK(ends_with_error(fd.get()));
    }
}

TEST_CASE("ports: an application that restarts has its port again, while proxied connections live") {
  const TwoWorkers two;
  for (const int family : kFamilies) {
    UniqueFd listener = listen_at(two.at("b"), family);
    const std::uint16_t port = local_address(listener.get()).port();
    for (int i = 0; i < 3; ++i) {
      std::vector<Pair> live;
      for (const char* from : {"a", "out", "c"}) {
        auto& pair = live.emplace_back();
        pair.client = connect_from(two.at(from), local_address(listener.get()));
        pair.server = accept_from(listener.get());
        exchange(pair.client.get(), pair.server.get(), 1);
      }
      // It ends, and what it had open with it; its clients are slow to notice.
      listener.reset();
      for (auto& pair : live) pair.server.reset();
      listener = listen_at(two.at("b"), family, {}, port);
    }
    CHECK(two.way("out", "b", family) == "proxied");
  }
}

TEST_CASE("ports: where no server is, the client hears so") {
  const TwoWorkers two;
  for (const int family : kFamilies) {
    Address to;
    {
      const UniqueFd was = listen_at(two.at("b"), family);
      to = local_address(was.get());
    }
    for (const std::string from : {"a", "out", "c", "b"}) {
      CAPTURE(from);
      INFO(two.scene.world.agent.log());
      const UniqueFd fd = socket_in(two.at(from).netns, family, SOCK_STREAM);
      const int done = ::connect(fd.get(), to.get(), to.size);
      if (done != 0) CHECK(errno == ECONNREFUSED);
      if (done == 0) CHECK(ends_with_error(fd.get()));
    }
  }
}

TEST_CASE("ports: a worker that has no descriptors left waits, says so, and goes on") {
  TwoWorkers two;
  auto& world = two.scene.world;
  const fs::path script = world.sandbox.root() / "few-descriptors";
  std::ofstream(script) << "#!/bin/sh\nulimit -n 500\nexec " << built_program("underpass-proxy").string()
                        << " \"$@\"\n";
  fs::permissions(script, fs::perms::owner_all);
  world.agent.kill9();
  for (const char* name : {"shop", "bank"}) ::kill(two.scene.worker_pid(name), SIGKILL);
  Agent agent(world.sandbox, {.more = {"--proxy", script.string()}});
  agent.start();
  REQUIRE(eventually(kSoon, [&] { return two.way("a", "out") == "proxied"; }));

  const EchoServer server(listen_at(two.at("out"), AF_INET));
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(connect_from(two.at("a"), server.address()));
  CHECK(eventually(kSoon, [&] { return agent.log().contains("accept-paused"); }));
  CHECK(eventually(kSoon, [&] { return two.status_says("too many descriptors open"); }));
  // Each is served as there is room.
  std::size_t served = 0;
  for (auto& client : clients) {
    send_all(client.get(), "ping");
    served += readable(client.get(), kSoon) && receive_exactly(client.get(), 4) == "ping" ? 1 : 0;
    client.reset();
  }
  CHECK(served == clients.size());
  CHECK(eventually(kSoon, [&] { return agent.log().contains("accept-resumed"); }));
  CHECK(two.way("c", "out") == "proxied");
}

}  // namespace
}  // namespace underpass::test
