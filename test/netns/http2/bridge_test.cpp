// SPDX-License-Identifier: Apache-2.0
// A client of one version of HTTP and a server of the other: what is a request and an answer there is the same here,
// and what is cut off there is never whole here.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/netns/http2/h2_wire.h"
#include "test/netns/http2/named_ground.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

constexpr std::size_t kLarge = 3U << 20;

std::string large() {
  std::string bytes(kLarge, '\0');
  Payload(11).fill(0, bytes);
  return bytes;
}

// A server of HTTP/2 whose each connection is played by `script`, until it ends.
ScriptServer serve_http2(const Place& place, std::uint16_t port, const std::function<void(H2Wire&)>& script,
                         const H2Wire::Settings& settings = {}) {
  return {place,
          [script, settings](ScriptServer& self, Wire& wire, std::size_t) {
            H2Wire h2(UniqueFd(::dup(wire.fd())), H2Wire::Role::kServer, settings);
            script(h2);
            while (!h2.has_ended) h2.turn_until([] { return false; });
            for (const auto& [id, stream] : h2.streams)
              self.keep({.start = stream.field(":method") + " " + stream.field(":path") + " HTTP/2",
                         .fields = stream.heads.front(),
                         .body = stream.body,
                         .trailers = stream.trailers});
          },
          port};
}

// By the path: echo and its length; head; none; hints; cut; reset.
void play_paths(H2Wire& h2) {
  h2.on_head = [&h2](std::int32_t id) {
    if (h2.streams[id].field("expect") == "100-continue") h2.interim(id, {{":status", "100"}});
  };
  h2.on_end = [&h2](std::int32_t id) {
    const auto& stream = h2.streams[id];
    const std::string path = stream.field(":path");
    if (stream.field(":method") == "HEAD") return h2.answer(id, {{":status", "200"}, {"content-length", "12345"}});
    if (path == "/none") return h2.answer(id, {{":status", "204"}});
    if (path == "/hints") h2.interim(id, {{":status", "103"}, {"link", "</a.css>"}});
    const std::string wrong = path == "/cut" ? "1000000" : "";
    H2Wire::Head head{{":status", "200"}, {"x-path", path}, {"x-trailer", stream.trailer("x-sum")}};
    if (!wrong.empty()) head.emplace_back("content-length", wrong);
    h2.answer(id, head, false);
    if (path == "/cut" || path == "/reset") {
      h2.send(id, "the beginning");
      return h2.reset(id, NGHTTP2_INTERNAL_ERROR);
    }
    h2.send(id, path == "/large" ? large() : stream.body);
    h2.end(id, {{"x-length", std::to_string(stream.body.size())}});
  };
}

std::string chunked(const std::string& body) {
  std::string out;
  for (std::size_t at = 0; at < body.size(); at += 50'000) {
    const std::string piece = body.substr(at, 50'000);
    char size[16];
    std::snprintf(size, sizeof size, "%zx", piece.size());
    out += std::string(size) + "\r\n" + piece + "\r\n";
  }
  return out + "0\r\nX-Sum: abc\r\n\r\n";
}

TEST_CASE("bridge: a client of HTTP/1.1 and a server whose port is HTTP/2's") {
  const NamedGround ground;
  for (const std::uint16_t port : {kHttp2Port, kH2cPort, kGrpcPort}) {
    CAPTURE(port);
    const ScriptServer script = serve_http2(ground.at("b"), port, play_paths);
    ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
      Wire wire(client, server, port);
      wire.send("GET /plain HTTP/1.1\r\nHost: shop\r\nConnection: x-mine\r\nX-Mine: 1\r\nTE: trailers\r\n\r\n");
      Message answer = wire.read_answer();
      CHECK(answer.status() == 200);
      CHECK(answer.field("x-path") == "/plain");
      CHECK(answer.trailers == std::vector<std::pair<std::string, std::string>>{{"x-length", "0"}});
      CHECK_FALSE(answer.has("connection"));

      const std::string body = large();
      wire.send("PUT /echo HTTP/1.1\r\nHost: shop\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                body);
      answer = wire.read_answer();
      CHECK(answer.body == body);
      wire.send("POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body));
      answer = wire.read_answer();
      CHECK(answer.body == body);
      CHECK(answer.field("x-trailer") == "abc");
      REQUIRE(answer.trailers.size() == 1);
      CHECK(answer.trailers[0].second == std::to_string(body.size()));

      wire.send("HEAD /head HTTP/1.1\r\nHost: shop\r\n\r\n");
      answer = wire.read_answer("HEAD");
      CHECK(answer.field("content-length") == "12345");
      wire.send("GET /none HTTP/1.1\r\nHost: shop\r\n\r\n");
      CHECK(wire.read_answer().status() == 204);
      wire.send("PUT /echo HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
      CHECK(wire.read_answer().status() == 100);
      wire.send("hi");
      CHECK(wire.read_answer().body == "hi");
      wire.send("GET /hints HTTP/1.1\r\nHost: shop\r\n\r\n");
      CHECK(wire.read_answer().status() == 103);
      CHECK(wire.read_answer().status() == 200);

      // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
      Wire old(client, server, port);
      old.send("POST /echo HTTP/1.0\r\nHost: shop\r\nContent-Length: 3\r\n\r\nold");
      answer = old.read_answer();
      CHECK(answer.body == "old");
      CHECK_FALSE(answer.has("transfer-encoding"));
    });
  }
}

TEST_CASE("bridge: what a server of HTTP/2 does not end is not whole for a client of HTTP/1.1") {
  const NamedGround ground;
  const ScriptServer script = serve_http2(ground.at("b"), kHttp2Port, play_paths);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    for (const char* path : {"/cut", "/reset"}) {
      CAPTURE(std::string(path));
      Wire wire(client, server, kHttp2Port);
      wire.send("GET " + std::string(path) + " HTTP/1.1\r\nHost: shop\r\n\r\n");
      CHECK_THROWS(wire.read_answer());
      const std::string url = "http://" + server.v4 + ":" + std::to_string(kHttp2Port) + path;
      // Of HTTP/1.0 the end of the connection is the end of the body, where that has no length.
      for (const char* version : {"--http1.1", "--http1.0"}) {
        const Finished curl = run({.argv = {"curl", "-gsS", version, "-o", "/dev/null", url}, .netns = client.netns});
        CHECK_FALSE(curl.exit.ok());
      }
    }
  });
  for (const auto& line : request_lines(ground.scene, 12)) CHECK(text_of(line.at("flags")) == "UR");
}

// Answers each request by its path; see below.
bool answer_http1(Wire& wire, const Message& request) {
  const std::string path = request.target();
  if (request.method() == "HEAD") return wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
  if (path == "/none") return wire.try_send("HTTP/1.1 204 No Content\r\n\r\n");
  if (path == "/until-close") return wire.try_send("HTTP/1.1 200 OK\r\n\r\nto the end") && false;
  if (path == "/length") return wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe beginning") && false;
  if (path == "/chunks")
    return wire.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") && false;
  if (path == "/garbage")
    return wire.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n") && false;
  const std::string trailer = request.trailers.empty() ? "" : request.trailers[0].second;
  return wire.try_send(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-mine\r\nX-Mine: 1\r\nX-Trailer: " + trailer +
      "\r\n\r\n" + chunked(path == "/large" ? large() : request.body));
}

H2Wire::Head asks(const std::string& method, const std::string& path, const H2Wire::Head& more = {}) {
  H2Wire::Head head{{":method", method}, {":scheme", "http"}, {":authority", "shop"}, {":path", path}};
  head.insert(head.end(), more.begin(), more.end());
  return head;
}

TEST_CASE("bridge: a client of HTTP/2 and a server whose port is HTTP/1's") {
  const NamedGround ground;
  const ScriptServer script(ground.at("b"), answer_http1, kHttp1Port);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    H2Wire wire(client, server, kHttp1Port);
    const std::string body = large();
    // Many at once, over as many connections as it takes.
    std::vector<std::int32_t> many;
    for (int i = 0; i < 20; ++i) many.push_back(wire.ask(asks("GET", "/large")));
    const auto echo = wire.ask(asks("POST", "/echo"), false);
    wire.send(echo, body);
    wire.end(echo, {{"x-sum", "abc"}});
    const auto put = wire.ask(asks("PUT", "/echo", {{"content-length", "5"}}), false);
    wire.send(put, "hello", true);
    const auto head = wire.ask(asks("HEAD", "/head")), none = wire.ask(asks("GET", "/none"));
    const auto close = wire.ask(asks("GET", "/until-close"));
    for (const auto id : many) CHECK(wire.whole(id).body == body);
    CHECK(wire.whole(echo).body == body);
    CHECK(wire.whole(echo).field("x-trailer") == "abc");
    CHECK(wire.whole(echo).trailer("x-sum") == "abc");
    for (const char* name : {"connection", "x-mine", "transfer-encoding", "keep-alive"})
      CHECK(wire.whole(echo).field(name).empty());
    CHECK(wire.whole(put).body == "hello");
    CHECK(wire.whole(head).field("content-length") == "12345");
    CHECK(wire.whole(head).body.empty());
    CHECK(wire.whole(none).status() == "204");
    CHECK(wire.whole(close).body == "to the end");
    for (const auto& [id, stream] : wire.streams) CHECK(!stream.reset.has_value());
  });
  for (const Message& request : script.requests()) CHECK(request.field("host") == "shop");
}

TEST_CASE("bridge: 100-continue of a client of HTTP/2 is its server's of HTTP/1.1 to say") {
  const NamedGround ground;
  const ScriptServer script(
      ground.at("b"),
      [](ScriptServer& self, Wire& wire, std::size_t) {
        const std::string head = wire.read_head();
        self.keep({.start = head, .fields = {}, .body = {}, .trailers = {}});
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        wire.send(ok(wire.read(5)));
      },
      kHttp1Port);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    H2Wire wire(client, server, kHttp1Port);
    const auto put = wire.ask(asks("PUT", "/", {{"content-length", "5"}, {"expect", "100-continue"}}), false);
    REQUIRE(wire.turn_until([&] { return wire.streams[put].status() == "100"; }));
    CHECK(wire.streams[put].heads.size() == 2);
    wire.send(put, "hello", true);
    CHECK(wire.whole(put).body == "hello");
    CHECK(wire.whole(put).status() == "200");
  });
  for (const Message& request : script.requests()) CHECK(request.start.contains("\r\nexpect: 100-continue\r\n"));
}

TEST_CASE("bridge: what a server of HTTP/1.1 does not end is not whole for a client of HTTP/2") {
  const NamedGround ground;
  const ScriptServer script(ground.at("b"), answer_http1, kHttp1Port);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    H2Wire wire(client, server, kHttp1Port);
    for (const char* path : {"/length", "/chunks", "/garbage"}) {
      CAPTURE(std::string(path));
      const auto cut = wire.ask(asks("GET", path));
      CHECK(wire.whole(cut).reset.has_value());
      CHECK_FALSE(wire.whole(cut).ended);
      CHECK(wire.whole(cut).status() == "200");
      CHECK(wire.whole(cut).body == (std::string(path) == "/length" ? "the beginning" : "hello"));
      const std::string url = "http://" + server.v4 + ":" + std::to_string(kHttp1Port) + path;
      const Finished curl =
          run({.argv = {"curl", "-gsS", "--http2-prior-knowledge", "-o", "/dev/null", url}, .netns = client.netns});
      CHECK_FALSE(curl.exit.ok());
    }
    // The connection, and others on it, live on.
    CHECK(wire.whole(wire.ask(asks("GET", "/none"))).status() == "204");
  });
  const auto lines = request_lines(ground.scene, 14);
  CHECK(lines.size() == 14);
  for (const auto& line : lines) {
    const auto path = text_of(line.at("path"));
    CHECK(text_of(line.at("flags")) == (path == "/none" ? "-" : path == "/garbage" ? "UPE" : "UC"));
  }
}

// What a client sends is cut too: a body that its end never came of is not a shorter one for the server.
TEST_CASE("bridge: what a client does not end is not whole for its server") {
  const NamedGround ground;
  std::atomic<std::size_t> begun = 0;
  const ScriptServer one(
      ground.at("b"),
      [&](ScriptServer& self, Wire& wire, std::size_t) {
        if (wire.has_bytes(seconds(10))) ++begun;
        if (const auto request = wire.read_request()) self.keep(*request);
      },
      kHttp1Port);
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    const auto before = one.complaints().size();
    H2Wire wire(client, server, kHttp1Port);
    const auto post = wire.ask(asks("POST", "/echo"), false);
    wire.send(post, "the beginning");
    REQUIRE(wire.turn_until([&] { return begun > before; }));
    wire.reset(post, NGHTTP2_CANCEL);
    CHECK(wire.turn_until([&] { return one.complaints().size() > before; }));
  });
  CHECK(one.requests().empty());

  std::atomic<int> cut = 0, whole = 0;
  const ScriptServer two = serve_http2(ground.at("b"), kHttp2Port, [&](H2Wire& h2) {
    h2.on_end = [&](std::int32_t) { ++whole; };
    h2.on_body = [&h2](std::int32_t id, std::string_view) { h2.interim(id, {{":status", "102"}}); };
    h2.on_reset = [&](std::int32_t) { ++cut; };
    (void)h2.turn_until([] { return false; }, seconds(60));
  });
  int wanted = 0;
  ground.play(kNamedWays, [&](const Way&, const Place& client, const Place& server) {
    for (const bool is_chunked : {false, true}) {
      Wire wire(client, server, kHttp2Port);
      wire.send(std::string("POST / HTTP/1.1\r\nHost: shop\r\n") +
                (is_chunked ? "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" : "Content-Length: 9\r\n\r\nhello"));
      CHECK(wire.read_answer().status() == 102);  // so some of the body is there
      wire.shut_write();
      ++wanted;
      CHECK(eventually(seconds(10), [&] { return cut == wanted; }));
    }
  });
  CHECK(whole == 0);
}

}  // namespace
}  // namespace underpass::test
