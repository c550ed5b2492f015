// SPDX-License-Identifier: Apache-2.0
// Servers that end connections which they had kept, as servers may: a client of the worker never notices, and no
// request is made twice that must not be.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>

#include <algorithm>
#include <atomic>

#include "agent/dataplane/sock_list.h"
#include "test/netns/faults/accounts.h"
#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"

namespace underpass::test {
namespace {

std::string request(const std::string& method, const std::string& path, const std::string& body = "") {
  return method + " " + path + " HTTP/1.1\r\nHost: shop\r\n" +
         (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body;
}

// Answers what a connection asks first, and hears what it asks next; then it is gone. Only the first connection is
// such.
ScriptServer::Play gone_at_the_second(bool by_reset) {
  return [by_reset](ScriptServer& self, Wire& wire, std::size_t connection) {
    for (int asked = 0; const auto message = wire.read_request(); ++asked) {
      self.keep(*message);
      if (connection == 0 && asked == 1) return by_reset ? wire.reset() : void();
      wire.send(ok());
    }
  };
}

// Whether a connection to this port of `place`, made in its network namespace (the worker's), still counts as open
// there: what the server's kernel has sent may wait for a processor, and a worker can't know what has not reached its
// socket.
bool is_open(const Place& place, std::uint16_t port) {
  const UniqueFd netns(::open(place.netns.c_str(), O_RDONLY | O_CLOEXEC));
  const auto sockets = dataplane::list_tcp_sockets(netns.get());
  REQUIRE_MESSAGE(sockets, sockets.error().message);
  return std::ranges::any_of(*sockets, [&](const dataplane::TcpSocket& socket) {
    return ntohs(socket.remote.port) == port && socket.local.state == UP_TCP_ESTABLISHED;
  });
}

TEST_CASE("faults: nginx ends each connection after ten requests, and wrk has no error") {
  for (const char* mode : {"off", "on"}) {
    CAPTURE(mode);
    const HttpGround ground("", mode);
    ground.play(kAllWays, [&](const Way& way, const Place& client, const Place&) {
      const Nginx nginx(ground, way.server, "keepalive_requests 10;\n");
      const std::string wrk = run_client(client, {"wrk", "-t1", "-c32", "-d1s", nginx.url("/text")}, seconds(60));
      CHECK_MESSAGE(!wrk.contains("Socket errors"), wrk);
      CHECK_MESSAGE(!wrk.contains("Non-2xx"), wrk);
    });
  }
}

TEST_CASE("faults: a kept connection that ends as it is used again: what may be repeated is, once") {
  struct Row {
    const char* method;
    const char* body;
    bool is_repeated;
  };
  constexpr Row kRows[] = {{"GET", "", true},    {"HEAD", "", true},  {"DELETE", "", true},  {"OPTIONS", "", true},
                           {"PUT", "hi", false}, {"POST", "", false}, {"POST", "hi", false}, {"PATCH", "", false}};
  const HttpGround ground;
  Ends wanted;
  for (const Row& row : kRows)
    for (const bool by_reset : {false, true}) {
      CAPTURE(std::string(row.method));
      CAPTURE(std::string(row.body));
      CAPTURE(by_reset);
      ScriptServer server(ground.at("b"), gone_at_the_second(by_reset));
      Wire client(ground.at("out"), ground.at("b"), server.port());
      client.send(request("GET", "/first"));
      REQUIRE(client.read_answer().status() == 200);
      client.send(request(row.method, "/again", row.body));
      CHECK(client.read_answer(row.method).status() == (row.is_repeated ? 200 : 503));
      std::size_t times = 0;
      for (const Message& seen : server.requests()) times += seen.target() == "/again" ? 1 : 0;
      CHECK(times == (row.is_repeated ? 2 : 1));
      wanted["- 200"] += row.is_repeated ? 2 : 1;
      if (!row.is_repeated) ++wanted["UC 503"];
      // The client's connection is as good as ever.
      client.send(request("GET", "/third"));
      CHECK(client.read_answer().status() == 200);
      ++wanted["- 200"];
    }
  check_accounts(ground.scene, wanted);
}

TEST_CASE("faults: a server that always goes when it is asked again is not asked for ever") {
  const HttpGround ground;
  ScriptServer server(ground.at("b"), [](ScriptServer& self, Wire& wire, std::size_t) {
    while (const auto message = wire.read_request()) {
      self.keep(*message);
      if (message->target() == "/again") return;
      wire.send(ok());
    }
  });
  Wire client(ground.at("out"), ground.at("b"), server.port());
  client.send(request("GET", "/first"));
  REQUIRE(client.read_answer().status() == 200);
  client.send(request("GET", "/again"));
  CHECK(client.read_answer().status() == 503);
  CHECK(server.requests().size() == 3);
  check_accounts(ground.scene, {{"- 200", 1}, {"UC 503", 1}});
}

TEST_CASE("faults: a server ends an idle connection before it is used again: nothing is lost, not even a POST") {
  constexpr std::size_t kTimes = 100;
  const HttpGround ground;
  const Place& place = ground.at("b");
  std::atomic<std::size_t> closed = 0;
  std::atomic<std::size_t> seen_open = 0;
  ScriptServer server(place, [&](ScriptServer& self, Wire& wire, std::size_t connection) {
    const auto message = wire.read_request();
    if (!message) return;
    self.keep(*message);
    if (is_open(place, self.port())) ++seen_open;
    wire.send(ok());
    if (connection % 2 == 0)
      wire.reset();
    else
      wire.close();
    ++closed;
  });
  Wire client(ground.at("out"), place, server.port());
  for (std::size_t i = 0; i < kTimes; ++i) {
    client.send(request("POST", "/x", "hi"));
    REQUIRE(client.read_answer().status() == 200);
    REQUIRE(eventually(seconds(10), [&] { return closed == i + 1 && !is_open(place, server.port()); }));
  }
  CHECK(seen_open == kTimes);
  CHECK(server.requests().size() == kTimes);
  check_accounts(ground.scene, {{"- 200", kTimes}});
}

}  // namespace
}  // namespace underpass::test
