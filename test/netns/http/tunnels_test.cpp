// SPDX-License-Identifier: Apache-2.0
// What stops being HTTP/1.1 in the middle: WebSocket and CONNECT are handed through once the server agrees, and not
// before; HTTP/2 begins at the worker, and never becomes a tunnel that nobody looks into.
#include <doctest/doctest.h>

#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/netns/http/ways.h"

namespace underpass::test {
namespace {

constexpr const char* kUpgrade =
    "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr const char* kSwitched =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

// Sends back what comes, in capital letters, and its first words in the packet of its answer.
void echo(Wire& wire, const std::string& answer) {
  wire.send(answer + "hello");
  CHECK(wire.read(4) == "ping");
  wire.send("PONG");
}

TEST_CASE("http: a WebSocket's bytes go both ways, and each direction ends by itself") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](ScriptServer& self, Wire& wire, std::size_t) {
      self.keep(*wire.read_request());
      echo(wire, kSwitched);
      if (wire.ended()) wire.send("last words");
    });
    Wire wire(client, server, script.port());
    wire.send(kUpgrade);
    const Message answer = wire.read_answer();
    CHECK(answer.status() == 101);
    CHECK(answer.field("upgrade") == "websocket");
    CHECK(answer.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(wire.read(5) == "hello");
    wire.send("ping");
    CHECK(wire.read(4) == "PONG");
    wire.shut_write();
    CHECK(wire.read(10) == "last words");
    CHECK(wire.ended());
    REQUIRE(script.requests().size() == 1);
    CHECK(script.requests()[0].field("upgrade") == "websocket");
    CHECK(script.requests()[0].field("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ==");
  });
}

TEST_CASE("http: a WebSocket that the server refuses is answered, and no tunnel") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way& way, const Place& client, const Place& server) {
    ScriptServer script(server, [](Wire& wire, const Message& request) {
      return wire.try_send(request.target() == "/chat" ? "HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno" : ok());
    });
    Wire wire(client, server, script.port());
    wire.send(kUpgrade);
    const Message refused = wire.read_answer();
    CHECK(refused.status() == 426);
    // Nobody knows what a client sent on before it heard that: a worker looks at none of it.
    if (way.is_proxied) {
      CHECK(refused.field("connection") == "close");
      CHECK(wire.ended());
      CHECK(script.requests().size() == 1);
      return;
    }
    wire.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(wire.read_answer().body == "fine");
    CHECK(script.requests().size() == 2);
  });
}

TEST_CASE("http: CONNECT is a tunnel once the server says 200, and HTTP where it does not") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](ScriptServer& self, Wire& wire, std::size_t connection) {
      self.keep(*wire.read_request());
      if (connection > 0) return wire.send("HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno");
      echo(wire, "HTTP/1.1 200 OK\r\n\r\n");
    });
    for (const unsigned status : {200U, 405U}) {
      Wire wire(client, server, script.port());
      wire.send("CONNECT inner.example:443 HTTP/1.1\r\nHost: inner.example:443\r\n\r\n");
      const Message answer = wire.read_answer("CONNECT");
      CHECK(answer.status() == status);
      if (status != 200) {
        CHECK(answer.body == "no");
        continue;
      }
      CHECK(wire.read(5) == "hello");
      wire.send("ping");
      CHECK(wire.read(4) == "PONG");
    }
    CHECK(script.requests().at(0).target() == "inner.example:443");
  });
}

// A request after CONNECT, in the same packet: it must not reach the server unless the tunnel was granted.
TEST_CASE("http: what a client sends on before its tunnel is granted is no second request") {
  const HttpGround ground;
  ground.play(kWorkerWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](Wire& wire, const Message& request) {
      return wire.try_send(request.method() == "CONNECT" ? "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" : ok());
    });
    for (const std::string head : {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", kUpgrade}) {
      Wire wire(client, server, script.port());
      wire.send(head + "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
      (void)wire.read_answer(head.substr(0, head.find(' ')));
      CHECK(wire.has_bytes(Wire::kPatience));  // its end, or the answer to a request that was looked at
    }
    REQUIRE(script.requests().size() == 2);
    for (const auto& request : script.requests()) CHECK_FALSE(request.target() == "/smuggled");
  });
}

TEST_CASE("http: curl's upgrade to HTTP/2 ends at the worker, and the server is asked in HTTP/1.1") {
  const HttpGround ground;
  ground.play(kWorkerWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](Wire& wire, const Message& request) { return wire.try_send(ok(request.target())); });
    const std::string url = "http://" + server.v4 + ":" + std::to_string(script.port());
    const std::string said = run_client(client, {"curl", "-gsS", "--fail", "--http2", "-w",
                                                 " %{http_version} %{num_connects}\n", url + "/1", url + "/2"});
    CHECK(said == "/1 2 1\n/2 2 0\n");
    REQUIRE(script.requests().size() == 2);
    for (const Message& request : script.requests())
      for (const char* name : {"upgrade", "http2-settings", "connection"}) CHECK_FALSE(request.has(name));
  });
}

// What is wrong about an offer makes it a request like any other, and none of it arrives, whoever would agree there.
TEST_CASE("http: an upgrade to HTTP/2 that is not as it should be is never forwarded, and no tunnel") {
  const HttpGround ground;
  const std::string settings = "HTTP2-Settings: AAMAAABk\r\n", both = "Connection: Upgrade, HTTP2-Settings\r\n";
  const std::string offers[] = {
      "Connection: Upgrade\r\nUpgrade: h2c\r\n" + settings,
      "Connection: HTTP2-Settings\r\nUpgrade: h2c\r\n" + settings,
      "Upgrade: h2c\r\n" + settings,
      both + "Upgrade: h2c\r\n",
      both + "Upgrade: h2c\r\n" + settings + settings,
      both + "Upgrade: h2c\r\nUpgrade: h2c\r\n" + settings,
      both + "Upgrade: h2c, h2c\r\n" + settings,
      both + "Upgrade: h2c-14\r\n" + settings,
      both + "Upgrade: h2c/1\r\n" + settings,
      both + "Upgrade: h2c\r\nHTTP2-Settings: AAT_____\r\n",
      both + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk=\r\n",
  };
  ground.play(kWorkerWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](ScriptServer& self, Wire& wire, std::size_t) {
      while (const auto request = wire.read_request()) {
        self.keep(*request);
        wire.send(request->has("upgrade")
                      ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
                      : ok());
      }
    });
    Wire wire(client, server, script.port());
    for (const std::string& offer : offers) {
      CAPTURE(offer);
      wire.send("GET / HTTP/1.1\r\nHost: x\r\n" + offer + "\r\n");
      CHECK(wire.read_answer().status() == 200);
    }
    wire.send("POST / HTTP/1.1\r\nHost: x\r\n" + both + "Upgrade: h2c\r\n" + settings + "Content-Length: 2\r\n\r\nhi");
    CHECK(wire.read_answer().status() == 200);
    // A WebSocket beside it is asked for, alone.
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n" + both + "Upgrade: h2c, websocket\r\n" + settings + "\r\n");
    CHECK(wire.read_answer().start.contains("502"));  // the server agrees to h2c, which nobody asked for
    const auto requests = script.requests();
    REQUIRE(requests.size() == std::size(offers) + 2);
    for (const Message& request : requests) {
      CHECK_FALSE(request.has("http2-settings"));
      CHECK(request.field("upgrade") == (&request == &requests.back() ? "websocket" : ""));
    }
  });
}

// Behind an offer that is taken nothing is HTTP/1.1 any more.
TEST_CASE("http: what is sent behind an offer of HTTP/2 is no second request") {
  const HttpGround ground;
  ground.play(kWorkerWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](Wire& wire, const Message&) { return wire.try_send(ok()); });
    Wire wire(client, server, script.port());
    wire.send(
        "GET /first HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAMAAABk\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(wire.read_answer().status() == 101);
    std::string rest;
    CHECK(eventually(Wire::kPatience, [&] {
      if (wire.ended(milliseconds(0))) return true;
      if (wire.has_bytes(milliseconds(0))) rest += wire.read(1);
      return false;
    }));
    CHECK(rest.contains("\x07"));  // GOAWAY
    for (const Message& request : script.requests()) CHECK(request.target() == "/first");
  });
}

}  // namespace
}  // namespace underpass::test
