// SPDX-License-Identifier: Apache-2.0
// WebSockets whose ends speak different versions of HTTP (RFC 6455, RFC 8441), and a pair of programs that frames and
// masks what it sends.
#include <doctest/doctest.h>

#include <string>

#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/netns/http2/h2_wire.h"
#include "test/netns/http2/named_ground.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

const H2Wire::Settings kTakesConnect{{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}};
constexpr const char* kUpgrade =
    "GET /chat?a=b HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
constexpr std::size_t kLarge = 2U << 20;

std::string large() {
  std::string bytes(kLarge, '\0');
  Payload(13).fill(0, bytes);
  return bytes;
}

// A server of HTTP/2 that agrees to tunnels, sends back what comes, and ends where the other end does. /no: 403; /bye:
// ends by itself; /reset.
ScriptServer serve_tunnels(const Place& place, const H2Wire::Settings& settings) {
  return {place,
          [settings](ScriptServer& self, Wire& wire, std::size_t) {
            H2Wire h2(UniqueFd(::dup(wire.fd())), H2Wire::Role::kServer, settings);
            h2.on_head = [&](std::int32_t id) {
              const auto& stream = h2.streams[id];
              const std::string path = stream.field(":path");
              self.keep({.start = stream.field(":method") + " " + path + " HTTP/2",
                         .fields = stream.heads.front(),
                         .body = {},
                         .trailers = {}});
              if (path == "/no") return h2.answer(id, {{":status", "403"}, {"x-why", "no"}});
              h2.answer(id, {{":status", "200"}, {"sec-websocket-protocol", "chat"}}, false);
              h2.send(id, "hello", path == "/bye");
            };
            h2.on_body = [&](std::int32_t id, std::string_view bytes) {
              h2.send(id, bytes);
              if (h2.streams[id].field(":path") == "/reset") h2.reset(id, NGHTTP2_CANCEL);
            };
            h2.on_end = [&](std::int32_t id) {
              if (h2.streams[id].field(":path").starts_with("/chat")) h2.send(id, "last words", true);
            };
            while (!h2.has_ended) (void)h2.turn_until([] { return false; });
          },
          kHttp2Port};
}

std::string upgrade_of(const std::string& path) {
  std::string out = kUpgrade;
  return out.replace(out.find("/chat?a=b"), 9, path);
}

TEST_CASE("websocket: a client of HTTP/1.1 and a server of HTTP/2") {
  const NamedGround ground;
  const ScriptServer script = serve_tunnels(ground.at("b"), kTakesConnect);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    const std::string bytes = large();
    Wire wire(client, server, kHttp2Port);
    wire.send(kUpgrade);
    const Message answer = wire.read_answer();
    CHECK(answer.status() == 101);
    CHECK(answer.field("upgrade") == "websocket");
    CHECK(answer.field("connection") == "upgrade");
    CHECK(answer.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // RFC 6455 §1.3
    CHECK(answer.field("sec-websocket-protocol") == "chat");
    CHECK(wire.read(5) == "hello");
    for (std::size_t at = 0; at < bytes.size(); at += 100'000) {
      const std::string piece = bytes.substr(at, 100'000);
      wire.send(piece);
      REQUIRE(wire.read(piece.size()) == piece);
    }
    wire.shut_write();
    CHECK(wire.read(10) == "last words");
    CHECK(wire.ended());
    for (const char* path : {"/bye", "/reset", "/no"}) {
      CAPTURE(std::string(path));
      Wire other(client, server, kHttp2Port);
      other.send(upgrade_of(path));
      const Message said = other.read_answer();
      CHECK(said.status() == (std::string(path) == "/no" ? 403 : 101));
      if (said.status() == 403) {
        CHECK(said.field("x-why") == "no");
        CHECK(other.ended());
        continue;
      }
      CHECK(other.read(5) == "hello");
      if (std::string(path) == "/bye") CHECK(other.ended());
      if (std::string(path) != "/reset") continue;
      other.send("x");
      CHECK(other.was_reset());
    }
  });
  const auto requests = script.requests();
  REQUIRE(requests.size() == 8);
  for (const Message& request : requests) {
    CHECK(request.method() == "CONNECT");
    CHECK(request.field(":protocol") == "websocket");
    CHECK(request.field(":authority") == "shop");
    CHECK(request.field("sec-websocket-version") == "13");
    for (const char* name : {"sec-websocket-key", "upgrade", "connection"}) CHECK_FALSE(request.has(name));
  }
}

TEST_CASE("websocket: a server of HTTP/2 that takes none is not asked, and the client hears 502") {
  const NamedGround ground;
  const ScriptServer script = serve_tunnels(ground.at("b"), {});
  int asked = 0;
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    for (int i = 0; i < 3; ++i, ++asked) {  // on a connection that is new, and on one that is known
      Wire wire(client, server, kHttp2Port);
      wire.send(kUpgrade);
      CHECK(wire.read_answer().status() == 502);
      CHECK(wire.ended());
    }
    Wire wire(client, server, kHttp2Port);
    wire.send("GET /bye HTTP/1.1\r\nHost: shop\r\n\r\n");
    CHECK(wire.read_answer().body == "hello");
    Wire keyless(client, server, kHttp2Port);
    keyless.send("GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    CHECK(keyless.read_answer().status() >= 400);
  });
  for (const Message& request : script.requests()) CHECK(request.start == "GET /bye HTTP/2");
  int refused = 0;
  for (const auto& line : request_lines(ground.scene, 10)) {
    if (!text_of(line.at("path")).starts_with("/chat")) continue;
    ++refused;
    CHECK(text_of(line.at("code")) == "502");
    CHECK(text_of(line.at("flags")) == "UPE");
    CHECK(text_of(line.at("details")).contains("SETTINGS_ENABLE_CONNECT_PROTOCOL"));
  }
  CHECK(refused == asked);
}

H2Wire::Head connect_to(const std::string& path, const std::string& protocol = "websocket") {
  return {{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "http"},
          {":authority", "shop"}, {":path", path},         {"sec-websocket-version", "13"}};
}

TEST_CASE("websocket: a client of HTTP/2 and a server of HTTP/1.1") {
  const NamedGround ground;
  const ScriptServer script(
      ground.at("b"),
      [](ScriptServer& self, Wire& wire, std::size_t) {
        const auto request = *wire.read_request();
        self.keep(request);
        if (request.target() == "/no") return wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: whatever\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello");
        if (request.target() == "/reset") return wire.reset();
        if (request.target() == "/bye") return;
        for (std::size_t at = 0; at < kLarge; at += 1U << 16) wire.send(wire.read(1U << 16));
        if (wire.ended()) wire.send("last words");
      },
      kHttp1Port);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    H2Wire wire(client, server, kHttp1Port);
    const auto chat = wire.ask(connect_to("/chat"), false), no = wire.ask(connect_to("/no"), false),
               bye = wire.ask(connect_to("/bye"), false), reset = wire.ask(connect_to("/reset"), false);
    wire.send(chat, large());
    REQUIRE(wire.turn_until([&] { return wire.streams[chat].body.size() == kLarge + 5; }));
    CHECK(wire.streams[chat].status() == "200");
    CHECK(wire.streams[chat].field("sec-websocket-protocol") == "chat");
    CHECK(wire.streams[chat].field("sec-websocket-accept").empty());
    CHECK(wire.streams[chat].body == "hello" + large());
    wire.end(chat);
    CHECK(wire.whole(chat).body.ends_with("last words"));
    CHECK(wire.whole(no).status() == "403");
    CHECK(wire.whole(no).body == "no");
    CHECK(wire.whole(bye).body == "hello");
    CHECK(wire.whole(reset).reset.has_value());
    // Nothing that would be HTTP, or TLS, behind it.
    for (const char* protocol : {"h2c", "H2C", "h2", "http/1.1", "TLS/1.3"})
      CHECK(wire.whole(wire.ask(connect_to("/evil", protocol), false)).status() == "501");
  });
  const auto requests = script.requests();
  CHECK(requests.size() == 8);
  for (const Message& request : requests) {
    CHECK(request.method() == "GET");
    CHECK(request.field("upgrade") == "websocket");
    CHECK(request.field("sec-websocket-key").size() == 24);
    CHECK(request.target() != "/evil");
  }
}

TEST_CASE("websocket: both ends speak HTTP/2") {
  const NamedGround ground;
  const ScriptServer script = serve_tunnels(ground.at("b"), kTakesConnect);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    H2Wire wire(client, server, kHttp2Port);
    const auto chat = wire.ask(connect_to("/chat"), false);
    wire.send(chat, large(), true);
    const auto& stream = wire.whole(chat);
    CHECK(stream.status() == "200");
    CHECK(stream.body == "hello" + large() + "last words");
  });
}

// Frames of all sizes, masked by the client, pings, fragments, and a close from either end.
TEST_CASE("websocket: a pair of programs") {
  const HttpGround ground;
  const auto script = ground.scene.world.sandbox.root() / "websocket.py";
  write_file(script, program_text("websocket.py"));
  std::string right;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    const Process process = start_server(server, {"/usr/bin/python3", script, "server", server.v4, "8090"}, 8090);
    std::string said;
    for (const char* closer : {"client", "server"})
      said += run_client(client, {"/usr/bin/python3", script, "client", server.v4, "8090", closer});
    CHECK(said.contains("closed by server 1000\n"));
    CHECK(said.contains("closed by client 1000\n"));
    if (right.empty()) right = said;
    CHECK(said == right);
  });
}

}  // namespace
}  // namespace underpass::test
