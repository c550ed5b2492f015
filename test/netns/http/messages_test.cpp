// SPDX-License-Identifier: Apache-2.0
// Requests and answers of every shape of HTTP/1: what the server is asked and what the client gets is the same with a
// worker between them.
#include <doctest/doctest.h>

#include <functional>

#include "test/netns/http/script_server.h"
#include "test/netns/http/ways.h"

namespace underpass::test {
namespace {

struct Shape {
  const char* name;
  const char* method;
  std::string ask;
  std::string answer;
};

// The server's answers with these ends are without a length: the end of the connection is their end.
const Shape kShapes[] = {
    {"a body with its length", "GET", "GET /a?b=%20c HTTP/1.1\r\nHost: shop.example\r\nX-One: 1\r\n\r\n", ok()},
    {"an empty body", "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ok("")},
    {"fields in their order, repeated, empty, not ASCII", "GET",
     "GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\nX-Empty:\r\nX-Latin: caf\xe9\r\nCookie: a=b\r\nCookie: "
     "c=d\r\n\r\n",
     ok("fine", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Empty: \r\n")},
    {"a chunked answer", "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n"},
    {"a chunked answer with trailers", "GET", "GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n"},
    {"a chunked request with trailers", "POST",
     "POST /in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: "
     "X-Sum\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n"
     "0\r\nX-Sum: 13\r\n\r\n",
     ok()},
    {"a request with a length", "PUT", "PUT /in HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", ok("stored")},
    {"a POST without a body", "POST", "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", ok()},
    {"a GET with a body", "GET", "GET /in HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", ok()},
    {"HEAD", "HEAD", "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"},
    {"HEAD of what would be chunked", "HEAD", "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"204", "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"},
    {"304 with the length of what is not sent", "GET", "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"a\"\r\n\r\n",
     "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 99\r\n\r\n"},
    {"OPTIONS *", "OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", ok("", "Allow: GET, HEAD\r\n")},
    {"a method of its own", "PURGE", "PURGE /cache/x HTTP/1.1\r\nHost: x\r\n\r\n", ok()},
    {"a status that nobody knows", "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
     "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nno"},
    {"an error with a body", "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
     "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nsick"},
    {"a redirect", "GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
     "HTTP/1.1 302 Found\r\nLocation: http://x/elsewhere\r\nContent-Length: 0\r\n\r\n"},
};

TEST_CASE("http: each shape of a message is handed on as it is, twice over one connection") {
  const HttpGround ground;
  for (const Shape& shape : kShapes) {
    CAPTURE(std::string(shape.name));
    std::string right;  // as it is without a worker
    ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
      ScriptServer script(server, [&](Wire& wire, const Message&) { return wire.try_send(shape.answer); });
      Wire wire(client, server, script.port());
      std::string found;
      for (int i = 0; i < 2; ++i) {
        wire.send(shape.ask);
        const Message answer = wire.read_answer(shape.method);
        found += essence_of(answer);
        if (answer.status() == 304 || std::string_view(shape.method) == "HEAD") found += answer.field("content-length");
      }
      for (const Message& request : script.requests()) found += essence_of(request) + request.field("host");
      CHECK(script.requests().size() == 2);
      CHECK(script.complaints().empty());
      if (right.empty()) right = found;
      CHECK(found == right);
    });
  }
}

TEST_CASE("http: an answer that ends with its connection, and requests of HTTP/1.0") {
  const HttpGround ground;
  struct Old {
    const char* name;
    std::string ask;
    std::string answer;
    bool is_kept;  // the connection, for another request
  };
  const Old kOld[] = {
      {"no length", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nto the end", false},
      {"no length, 1.0", "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nto the end", false},
      {"1.0", "GET / HTTP/1.0\r\nHost: x\r\n\r\n", ok(), false},
      {"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", ok(), false},
      {"1.0 keep-alive", "GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
       ok("fine", "Connection: keep-alive\r\n"), true},
      {"close by the client", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", ok(), false},
      {"close by the server", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ok("fine", "Connection: close\r\n"), false},
  };
  for (const Old& old : kOld) {
    CAPTURE(std::string(old.name));
    ground.play(kWorkerWays, [&](const Way&, const Place& client, const Place& server) {
      ScriptServer script(server, [&](Wire& wire, const Message& request) {
        return wire.try_send(old.answer) && old.is_kept && request.field("connection") != "close";
      });
      Wire wire(client, server, script.port());
      wire.send(old.ask);
      const Message answer = wire.read_answer();
      CHECK(answer.status() == 200);
      CHECK((answer.body == "to the end" || answer.body == "fine"));
      if (old.ask.contains("HTTP/1.0")) CHECK_FALSE(answer.has("transfer-encoding"));
      if (old.is_kept) {
        CHECK(answer.field("connection") == "keep-alive");
        wire.send(old.ask);
        CHECK(wire.read_answer().body == "fine");
      }
      CHECK(script.requests().size() == (old.is_kept ? 2 : 1));
      // A server that closes leaves the client's connection as it was, where that can be kept.
      const bool is_closed = old.ask.contains("HTTP/1.0") ? !old.is_kept : old.ask.contains("close");
      if (is_closed) CHECK(wire.ended());
    });
  }
}

TEST_CASE("http: pipelined requests are answered in their order, each once") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(
        server, [&](Wire& wire, const Message& request) { return wire.try_send(ok(request.target() + request.body)); });
    Wire wire(client, server, script.port());
    constexpr int kRequests = 200;
    std::string all;
    for (int i = 0; i < kRequests; ++i) {
      const std::string n = std::to_string(i);
      all += i % 3 == 0 ? "POST /" + n + " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                        : "GET /" + n + " HTTP/1.1\r\nHost: x\r\n\r\n";
    }
    wire.send(all);
    for (int i = 0; i < kRequests; ++i)
      CHECK(wire.read_answer().body == "/" + std::to_string(i) + (i % 3 == 0 ? "abc" : ""));
    CHECK(script.requests().size() == kRequests);
    CHECK(script.complaints().empty());
  });
}

TEST_CASE("http: 100-continue is the server's to say, and other interim answers come before theirs") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](ScriptServer& self, Wire& wire, std::size_t) {
      const std::string head = wire.read_head();
      self.keep({.start = head, .fields = {}, .body = {}, .trailers = {}});
      wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
      wire.send(ok(wire.read(5)));
    });
    Wire wire(client, server, script.port());
    wire.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    const Message hints = wire.read_answer();
    CHECK(hints.status() == 103);
    CHECK(hints.field("link") == "</a.css>");
    CHECK(wire.read_answer().status() == 100);
    wire.send("hello");
    const Message answer = wire.read_answer();
    CHECK(answer.status() == 200);
    CHECK(answer.body == "hello");
  });
}

TEST_CASE("http: a server that does not want the body says so at once") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](ScriptServer&, Wire& wire, std::size_t) {
      (void)wire.read_head();
      wire.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    Wire wire(client, server, script.port());
    wire.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    CHECK(wire.read_answer().status() == 417);
    CHECK(wire.ended());
  });
}

TEST_CASE("http: a client that has said all and shut down its side gets its answer") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](Wire& wire, const Message&) { return wire.try_send(ok()); });
    Wire wire(client, server, script.port());
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wire.shut_write();
    CHECK(wire.read_answer().body == "fine");
    CHECK(wire.ended());
    CHECK(script.requests().size() == 1);
  });
}

// So it is HTTP that is spoken, and not bytes that are relayed.
TEST_CASE("http: clients one after the other share a connection to the server, those of another pod do not") {
  const HttpGround ground;
  ScriptServer script(ground.at("b"), [](Wire& wire, const Message&) { return wire.try_send(ok()); });
  const auto ask_from = [&](const char* pod) {
    Wire wire(ground.at(pod), ground.at("b"), script.port());
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(wire.read_answer().body == "fine");
  };
  // Each of the worker's two threads has its own.
  for (int i = 0; i < 20; ++i) ask_from("a");
  const auto of_a = script.connections();
  CHECK(of_a <= 2);
  ask_from("out");
  CHECK(script.connections() == of_a + 1);
  CHECK(script.requests().size() == 21);
}

TEST_CASE("http: each byte of a request and of an answer may come alone") {
  const HttpGround ground;
  const std::string answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
  ground.play(kTwoWays, [&](const Way&, const Place& client, const Place& server) {
    const auto send_slowly = [](Wire& wire, const std::string& bytes) {
      set_option(wire.fd(), IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
      for (const char byte : bytes) wire.send(std::string(1, byte));
      return true;
    };
    ScriptServer script(server, [&](Wire& wire, const Message&) { return send_slowly(wire, answer); });
    Wire wire(client, server, script.port());
    send_slowly(wire, "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    const Message got = wire.read_answer();
    CHECK(got.body == "abc");
    CHECK(got.trailers.size() == 1);
    CHECK(script.requests().at(0).body == "hi");
  });
}

}  // namespace
}  // namespace underpass::test
