// SPDX-License-Identifier: Apache-2.0
// Requests that two readers could read differently, on the wire: the server behind the worker sees exactly what was
// asked, or the client gets an error and the server sees nothing. The server is this test's own strict reader, and for
// the count of requests nginx, which shares no code with either.
#include <doctest/doctest.h>

#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/netns/http/ways.h"

namespace underpass::test {
namespace {

struct Row {
  const char* name;
  std::string bytes;
};

// What begins as a request, and so is HTTP's business.
const std::string kHost = "Host: x\r\n";
const std::string kInner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
const Row kRefused[] = {
    {"CL and TE",
     "POST / HTTP/1.1\r\n" + kHost + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + kInner},
    {"TE and CL",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + kInner},
    {"two lengths", "POST / HTTP/1.1\r\n" + kHost + "Content-Length: 0\r\nContent-Length: 37\r\n\r\n" + kInner},
    {"a list of lengths", "POST / HTTP/1.1\r\n" + kHost + "Content-Length: 0, 37\r\n\r\n" + kInner},
    {"a signed length", "POST / HTTP/1.1\r\n" + kHost + "Content-Length: +5\r\n\r\nhello"},
    {"a hexadecimal length", "POST / HTTP/1.1\r\n" + kHost + "Content-Length: 0x5\r\n\r\nhello"},
    {"a length past 64 bits", "POST / HTTP/1.1\r\n" + kHost + "Content-Length: 18446744073709551621\r\n\r\nhello"},
    {"TE twice", "POST / HTTP/1.1\r\n" + kHost +
                     "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + kInner},
    {"TE of another coding", "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + kInner},
    {"chunked is not the last coding",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + kInner},
    {"TE with a tab and a vertical tab", "POST / HTTP/1.1\r\n" + kHost +
                                             "Transfer-Encoding:\x0b"
                                             "chunked\r\n\r\n0\r\n\r\n" +
                                             kInner},
    {"TE in HTTP/1.0", "POST / HTTP/1.0\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + kInner},
    {"a blank before the colon",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + kInner},
    {"a folded field", "POST / HTTP/1.1\r\n" + kHost + "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n" + kInner},
    {"a folded coding", "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + kInner},
    {"a line feed alone ends a field", "POST / HTTP/1.1\r\n" + kHost + "X-A: b\nContent-Length: 5\r\n\r\nhello"},
    {"a line feed alone ends the head", "GET / HTTP/1.1\r\n" + kHost + "X-A: b\r\n\nGET /smuggled HTTP/1.1\r\n\r\n"},
    {"a carriage return alone", "GET / HTTP/1.1\r\n" + kHost + "X-A: b\rContent-Length: 5\r\n\r\n"},
    {"NUL in a value", std::string("GET / HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n", 37)},
    {"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"},
    {"no Host", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n"},
    {"a list in Host", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n"},
    {"userinfo in Host", "GET / HTTP/1.1\r\nHost: x@y\r\n\r\n"},
    {"a name that is empty", "GET / HTTP/1.1\r\n" + kHost + ": b\r\n\r\n"},
    {"a field without a colon", "GET / HTTP/1.1\r\n" + kHost + "Transfer-Encoding\r\n\r\n"},
    {"a chunk size that is signed",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n"},
    {"a chunk size with 0x",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"},
    {"a chunk size past 64 bits",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"},
    {"a chunk that is longer than it says",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"},
    {"a line feed alone after a chunk size",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"},
    {"a line feed in a chunk extension",
     "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n"},
    {"a fragment", "GET /a#b HTTP/1.1\r\n" + kHost + "\r\n"},
    {"an escaped NUL", "GET /a%00b HTTP/1.1\r\n" + kHost + "\r\n"},
    {"a cut-off escape", "GET /a%2 HTTP/1.1\r\n" + kHost + "\r\n"},
    {"a field name with an underscore", "GET / HTTP/1.1\r\n" + kHost + "Content_Length: 5\r\n\r\n"},
    {"a head of 100 KB", "GET / HTTP/1.1\r\n" + kHost + "X-A: " + std::string(100'000, 'a') + "\r\n\r\n"},
    {"a thousand fields",
     [] {
       std::string out = "GET / HTTP/1.1\r\n" + kHost;
       for (int i = 0; i < 1000; ++i) out += "X-A: b\r\n";
       return out + "\r\n";
     }()},
};

bool is_error(unsigned status) { return status >= 400 && status < 600; }

// The head of a request is handed on before its body is whole: so a bad body may be seen to begin, and never to end.
TEST_CASE("http: a request that is not plain gets an error, and nothing of it is a request at the server") {
  const HttpGround ground;
  ScriptServer script(ground.at("b"),
                      [](Wire& wire, const Message& request) { return wire.try_send(ok(request.target())); });
  ground.play(std::span(kWorkerWays).first(2), [&](const Way&, const Place& client, const Place& server) {
    for (const Row& row : kRefused) {
      CAPTURE(std::string(row.name));
      const auto before = script.requests().size();
      Wire wire(client, server, script.port());
      wire.send(row.bytes);
      CHECK(is_error(wire.read_answer().status()));
      // Where the message ends is plain in these two; the others take their connection with them.
      if (!std::string_view(row.name).contains("escape")) CHECK((wire.ended() || wire.was_reset()));
      CHECK(script.requests().size() == before);
    }
    // Whatever they did to the connections that the worker keeps, the next request is itself.
    Wire wire(client, server, script.port());
    wire.send("GET /after HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(wire.read_answer().body == "/after");
  });
  for (const auto& request : script.requests()) CHECK(request.target() == "/after");
  // What began to come was cut off; the last one says that a connection is kept and idle.
  for (const std::string& complaint : script.complaints())
    CHECK_MESSAGE((complaint.starts_with("the stream ended") || complaint.starts_with("recv after") ||
                   complaint == "nothing more came after: \"\""),
                  complaint);
}

// Right, and easily taken for something else.
const Row kTaken[] = {
    {"the same length twice is one", "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /"},
    {"a body that looks like a request", "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n\r\n" + kInner + "ab"},
    {"chunks that look like a request",
     "POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n25\r\n" + kInner + "ab\r\n0\r\n\r\n"},
    {"trailers that look like framing",
     "POST /4 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Content-Length: 5\r\n\r\n"},
    {"CHUNKED in capitals", "POST /5 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
    {"fields that Connection names", "GET /6 HTTP/1.1\r\nHost: x\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\r\n"},
    {"dots and slashes", "GET /x/..//7/./ HTTP/1.1\r\nHost: X.Example.:80\r\n\r\n"},
};

TEST_CASE("http: what is plain but odd arrives as one request, the one that was asked") {
  const HttpGround ground;
  ground.play(kWorkerWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [](Wire& wire, const Message& request) { return wire.try_send(ok(request.target())); });
    for (const Row& row : kTaken) {
      CAPTURE(std::string(row.name));
      const auto before = script.requests().size();
      Wire wire(client, server, script.port());
      wire.send(row.bytes);
      const Message answer = wire.read_answer();
      CHECK(answer.status() == 200);
      CHECK_FALSE(answer.body.contains("smuggled"));
      CHECK(answer.body.contains(std::to_string(&row - kTaken + 1)));
      CHECK(script.requests().size() == before + 1);
      CHECK_FALSE(script.requests().back().has("x-secret"));
    }
    CHECK(script.complaints().empty());
    CHECK(script.requests().back().target() == "/7/");
  });
}

TEST_CASE("http: nginx behind the worker logs what was asked and nothing else") {
  const HttpGround ground;
  const Nginx nginx(ground, "b", "location /one { return 200 one; } location /smuggled { return 200 bad; }\n");
  for (const auto* rows : {kRefused, kTaken}) {
    const auto count = rows == kRefused ? std::size(kRefused) : std::size(kTaken);
    for (const Row& row : std::span(rows, count)) {
      CAPTURE(std::string(row.name));
      Wire wire(ground.at("a"), ground.at("b"), kNginxPort);
      wire.send(row.bytes);
      (void)wire.read_answer();
    }
  }
  Wire last(ground.at("a"), ground.at("b"), kNginxPort);
  last.send("GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK(last.read_answer().body == "one");
  REQUIRE(eventually(seconds(5), [&] { return nginx.log().size() > std::size(kTaken); }));
  for (const std::string& line : nginx.log()) CHECK_MESSAGE(!line.contains("smuggled"), line);
}

// The same from the server's side: an answer that two readers could read differently is not handed on.
TEST_CASE("http: an answer that is not plain is 502, and its connection is not used again") {
  const HttpGround ground;
  const Row kAnswers[] = {
      {"CL and TE", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"},
      {"a folded field", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"},
      {"NUL", std::string("HTTP/1.1 200 OK\r\nX-A: b\0\r\nContent-Length: 0\r\n\r\n", 47)},
      {"no HTTP", "hello there, this is not HTTP\r\n\r\n"},
      {"a bad status", "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"},
      {"a head without end", "HTTP/1.1 200 OK\r\nX-A: " + std::string(200'000, 'a')},
  };
  ground.play(kWorkerWays, [&](const Way&, const Place& client, const Place& server) {
    for (const Row& row : kAnswers) {
      CAPTURE(std::string(row.name));
      ScriptServer script(server, [&](Wire& wire, const Message& request) {
        return wire.try_send(request.target() == "/bad" ? row.bytes : ok());
      });
      Wire wire(client, server, script.port());
      wire.send("GET /bad HTTP/1.1\r\nHost: x\r\n\r\n");
      CHECK(wire.read_answer().status() == 502);
      wire.send("GET /good HTTP/1.1\r\nHost: x\r\n\r\n");
      CHECK(wire.read_answer().body == "fine");
      CHECK(script.connections() == 2);
      CHECK(script.requests().size() == 2);
    }
  });
}

}  // namespace
}  // namespace underpass::test
