// SPDX-License-Identifier: Apache-2.0
// What the server's side of HTTP/1 reads, refuses and answers. Each input is fed whole, byte by byte, and split at
// every place, and must come to the same.
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "test/support/http1_peers.h"

using namespace underpass;
using namespace underpass::http;
using test::ServerPeer;

namespace {

struct Outcome {
  std::string log;
  std::string said;
  bool over = false;

  bool operator==(const Outcome&) const = default;
};

Outcome run(const std::vector<std::string_view>& pieces, const ServerPeer::Answer& answer, const Limits& limits,
            bool end) {
  ServerPeer peer(answer, limits);
  for (const auto piece : pieces) peer.feeder().feed(piece);
  if (end) peer.feeder().end();
  return {.log = peer.log(), .said = peer.feeder().said(), .over = peer.codec().is_over()};
}

// However it is cut.
Outcome read(std::string_view input, const ServerPeer::Answer& answer = ServerPeer::answer_ok,
             const Limits& limits = {}, bool end = false) {
  const auto whole = run({input}, answer, limits, end);
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < input.size(); ++i) bytes.push_back(input.substr(i, 1));
  CHECK(run(bytes, answer, limits, end) == whole);
  for (std::size_t at = 1; at < input.size(); ++at)
    if (const auto split = run({input.substr(0, at), input.substr(at)}, answer, limits, end); split != whole)
      FAIL_CHECK("split at " << at << ": " << split.log << " instead of " << whole.log);
  return whole;
}

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
constexpr std::string_view kOkClose = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

struct Row {
  std::string_view input;
  std::string_view log;
};

void answer_with(ServerPeer& peer, StreamId stream, unsigned status, bool has_body,
                 std::optional<std::uint64_t> length = std::nullopt) {
  Response response;
  response.status = status;
  response.has_body = has_body;
  response.content_length = length;
  response.fields.add("x", "y");
  peer.codec().send_response(stream, response);
}

}  // namespace

TEST_CASE("http1 server: what is read") {
  static const Row kRows[] = {
      {"GET /a?b=c HTTP/1.1\r\nHost: Shop:80\r\nX-A:  b c\t\r\n\r\n", "GET http://Shop:80/a?b=c x-a=b c\n"},
      {"\r\nGET / HTTP/1.1\r\nhost: a\r\nEmpty:\r\n\r\n", "GET http://a/ empty=\n"},
      {"GET / HTTP/1.0\r\n\r\n", "GET http:/// 1.0\n"},
      {"GET / HTTP/1.1\r\nhost:\r\n\r\n", "GET http:///\n"},
      {"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS http://a*\n"},
      {"OPTIONS http://a HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS http://a*\n"},
      {"GET HTTPS://A:443?x HTTP/1.1\r\nhost: a\r\n\r\n", "GET https://A:443/?x\n"},
      {"GET http://[::1]/x HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", "GET http://[::1]/x\n"},
      {"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", "CONNECT http://a:443\n"},
      {"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", "POST http://a/ [3] [body]\ndata abc\nend\n"},
      {"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", "POST http://a/ [0]\n"},
      {"POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0a\r\n0123456789\r\n0\r\n"
       "X-Sum: 1\r\nContent-Length: 9\r\nAuthorization: x\r\n\r\n",
       "POST http://a/ [body]\ndata abc0123456789\nend x-sum=1\n"},
      {"GET / HTTP/1.1\r\nhost: a\r\nConnection: x-one, ,keep-alive, TE\r\nX-One: 1\r\nX-Two: 2\r\nKeep-Alive: 5\r\n"
       "Proxy-Connection: x\r\nTE: gzip, trailers\r\nHTTP2-Settings: x\r\n\r\n",
       "GET http://a/ x-two=2 te=trailers\n"},
      {"PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n\r\nx",
       "PUT http://a/ [1] [body] [100]\ndata x\nend\n"},
      {"GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n", "GET http://a/\n"},
      {"GET / HTTP/1.1\r\nhost: a\r\nexpect: a-miracle\r\n\r\n", "GET http://a/\n"},
      {"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n\r\n",
       "GET http://a/\n"},
      {"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n", "GET http://a/\n"},
      {"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1\r\n\r\nx",
       "POST http://a/ [1] [body]\ndata x\nend\n"},
      {"GET / HTTP/1.1\r\nhost: a\r\nx: \x80\xff\r\n\r\n", "GET http://a/ x=\x80\xff\n"},
  };
  for (const auto& row : kRows) {
    CAPTURE(row.input);
    CHECK(read(row.input).log == row.log);
  }
}

TEST_CASE("http1 server: what is refused") {
  const std::string nul(1, '\0');
  static const std::string kHost = " HTTP/1.1\r\nhost: a\r\n";
  const std::vector<std::pair<std::string, int>> rows = {
      {"GET /\r\n", 505},
      {"GET / HTTP/2.0\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET / HTTP/1.2\r\n", 505},
      {"PRI / HTTP/1.1\r\n", 400},
      {"GET / http/1.1\r\n", 400},
      {"GET / HTTP/1.1 \r\n", 400},
      {"GET / HTTP/1.10\r\n", 400},
      {"GET  / HTTP/1.1\r\n", 400},
      {"GET\t/ HTTP/1.1\r\n", 400},
      {" GET / HTTP/1.1\r\n", 400},
      {"\r\n\r\nGET / HTTP/1.1\r\n", 400},
      {"G(T / HTTP/1.1\r\n", 400},
      {"GET / a HTTP/1.1\r\n", 400},
      {"GET /#a" + kHost, 400},
      {"GET /\x7f" + kHost, 400},
      {"GET /\xc3\xa4" + kHost, 400},
      {"GET /" + nul + kHost, 400},
      {"GET * HTTP/1.1\r\n", 400},
      {"GET a" + kHost, 400},
      {"GET a:80" + kHost, 400},
      {"GET ftp://a/" + kHost, 400},
      {"GET http:///x" + kHost, 400},
      {"GET http://u@a/" + kHost, 400},
      {"GET http://b/" + kHost + "\r\n", 400},
      {"GET http://a:81/" + kHost + "\r\n", 400},
      {"GET https://a:80/" + kHost + "\r\n", 400},
      {"CONNECT a" + kHost, 400},
      {"CONNECT /" + kHost, 400},
      {"CONNECT http://a:1/" + kHost, 400},
      {"CONNECT b:1" + kHost + "\r\n", 400},
      {"CONNECT a:1" + kHost + "content-length: 1\r\n\r\n", 400},
      {"CONNECT a:1" + kHost + "transfer-encoding: chunked\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: u@a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a:\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a:0\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a:65536\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a:+1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a..b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: .\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: a%2eb\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: [::1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: [::1]x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nhost: [g::]\r\n\r\n", 400},
      {"GET /" + kHost + "x\r\n", 400},
      {"GET /" + kHost + ": x\r\n", 400},
      {"GET /" + kHost + "x : y\r\n", 400},
      {"GET /" + kHost + "x\t: y\r\n", 400},
      {"GET /" + kHost + "x" + nul + ": y\r\n", 400},
      {"GET /" + kHost + "x: a" + nul + "b\r\n", 400},
      {"GET /" + kHost + "x: a\rb\r\n", 400},
      {"GET /" + kHost + "x: a\nb: c\r\n", 400},
      {"GET /" + kHost + "x: a\x7f\r\n", 400},
      {"GET /" + kHost + "x: a\r\n b\r\n", 400},
      {"GET / HTTP/1.1\r\n x: a\r\n", 400},
      {"GET /" + kHost + "x_y: a\r\n", 400},
      {"GET /" + kHost + "connection: a b\r\n", 400},
      {"GET /" + kHost + "content-length: 1, 1\r\n", 400},
      {"GET /" + kHost + "transfer-encoding: gzip, chunked\r\n\r\n", 501},
      {"GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400},
  };
  for (const auto& [input, status] : rows) {
    CAPTURE(input);
    const auto outcome = read(input + "Y: z\r\n\r\nGET /next HTTP/1.1\r\nhost: a\r\n\r\n");
    CHECK(outcome.log.starts_with("refused " + std::to_string(status)));
    CHECK(outcome.log.find('\n') == outcome.log.size() - 1);
    CHECK(outcome.said.starts_with("HTTP/1.1 " + std::to_string(status) + " "));
    CHECK(outcome.said.ends_with("content-length: 0\r\nconnection: close\r\n\r\n"));
    CHECK(outcome.over);
  }
}

TEST_CASE("http1 server: Connection takes nothing away that an earlier hop may have set") {
  for (const auto* name : {"authorization", "Cookie", "x-forwarded-for", "X-Forwarded-Client-Cert", "content-length",
                           "content-type", "transfer-encoding", "host", "traceparent", "x-b3-traceid", "forwarded"}) {
    CAPTURE(name);
    const auto input = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, " + std::string(name) + "\r\n\r\n";
    CHECK(read(input).log == "refused 400 Connection names a field that is not its own\n");
  }
}

TEST_CASE("http1 server: underscores are refused, dropped or left, as it is set") {
  const std::string input = "GET / HTTP/1.1\r\nhost: a\r\nx_y: 1\r\nz: 2\r\n\r\n";
  CHECK(read(input).log.starts_with("refused 400"));
  CHECK(read(input, ServerPeer::answer_ok, {.underscores = Underscores::kDrop}).log == "GET http://a/ z=2\n");
  CHECK(read(input, ServerPeer::answer_ok, {.underscores = Underscores::kAllow}).log == "GET http://a/ x_y=1 z=2\n");
}

TEST_CASE("http1 server: limits") {
  const Limits limits{.max_head_bytes = 200, .max_fields = 3, .max_target_bytes = 20};
  const auto status = [&](const std::string& input) { return read(input, ServerPeer::answer_ok, limits).log; };
  CHECK(status("GET /" + std::string(19, 'a') + " HTTP/1.1\r\nhost: a\r\n\r\n").starts_with("GET http://a/aaa"));
  CHECK(status("GET /" + std::string(20, 'a') + " HTTP/1.1\r\nhost: a\r\n\r\n").starts_with("refused 414"));
  CHECK(status("GET /" + std::string(1000, 'a')).starts_with("refused 414"));
  CHECK(status("GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\nc: 2\r\n\r\n") == "GET http://a/ b=1 c=2\n");
  CHECK(status("GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\nc: 2\r\nd: 3\r\n\r\n").starts_with("refused 431"));
  CHECK(status("GET / HTTP/1.1\r\nhost: a\r\nb: " + std::string(200, 'b')).starts_with("refused 431"));
  CHECK(status("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + std::string(200, 'b'))
            .ends_with("failed 431 a line too long\n"));
}

TEST_CASE("http1 server: pipelined requests are answered one after the other") {
  const std::string one = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
  const std::string two = "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
  const std::string last = "GET /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
  const auto outcome = read(one + two + last + one);
  CHECK(outcome.log == "GET http://a/1\nPOST http://a/2 [1] [body]\ndata x\nend\nGET http://a/3\n");
  CHECK(outcome.said == std::string(kOk) + std::string(kOk) + std::string(kOkClose));
  CHECK(outcome.over);
}

TEST_CASE("http1 server: a request waits while the one before it is not answered") {
  ServerPeer peer(nullptr);
  peer.feeder().feed("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
  CHECK(peer.told().size() == 1);
  CHECK_FALSE(peer.codec().wants_input());
  CHECK(peer.feeder().held() == "GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
  ServerPeer::answer_ok(peer, 1);
  CHECK(peer.codec().wants_input());
  peer.feeder().go_on();
  CHECK(peer.told().size() == 2);
}

TEST_CASE("http1 server: answers") {
  struct Answered {
    std::string request;
    unsigned status;
    bool has_body;
    std::optional<std::uint64_t> length;
    std::string said;
    bool over;
  };
  const std::string get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  const std::string head = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
  const std::string old = "GET / HTTP/1.0\r\n\r\n";
  const std::string old_kept = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
  const Answered rows[] = {
      {get, 200, true, 2, "200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\nok", false},
      {get, 200, true, {}, "200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nt: u\r\n\r\n", false},
      {get, 200, false, {}, "200 OK\r\nx: y\r\ncontent-length: 0\r\n\r\n", false},
      {get, 200, false, 5, "200 OK\r\nx: y\r\ncontent-length: 0\r\n\r\n", false},
      {get, 204, true, 2, "204 No Content\r\nx: y\r\n\r\n", false},
      {get, 304, true, 2, "304 Not Modified\r\nx: y\r\ncontent-length: 2\r\n\r\n", false},
      {get, 599, false, {}, "599 \r\nx: y\r\ncontent-length: 0\r\n\r\n", false},
      {get, 101, false, {}, "502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", true},
      {head, 200, true, 2, "200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\n", false},
      {head, 200, true, {}, "200 OK\r\nx: y\r\n\r\n", false},
      {old, 200, true, {}, "200 OK\r\nx: y\r\nconnection: close\r\n\r\nok", true},
      {old_kept, 200, true, {}, "200 OK\r\nx: y\r\nconnection: close\r\n\r\nok", true},
      {old_kept, 200, true, 2, "200 OK\r\nx: y\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok", false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.request);
    CAPTURE(row.status);
    const auto outcome = read(row.request, [&](ServerPeer& peer, StreamId stream) {
      answer_with(peer, stream, row.status, row.has_body, row.length);
      peer.codec().send_data(stream, "ok");
      Fields trailers;
      trailers.add("t", "u");
      peer.codec().send_end(stream, &trailers);
    });
    CHECK(outcome.said == "HTTP/1.1 " + row.said);
    CHECK(outcome.over == row.over);
  }
}

TEST_CASE("http1 server: what policy puts into an answer cannot split it") {
  const auto outcome = read("GET / HTTP/1.1\r\nhost: a\r\n\r\n", [](ServerPeer& peer, StreamId stream) {
    Response response;
    response.status = 403;
    response.reason = "No\r\nx: y";
    response.fields.add("x-evil", "a\r\ncontent-length: 5");
    response.fields.add("x evil", "a");
    response.fields.add("content-length", "7");
    response.fields.add("transfer-encoding", "chunked");
    response.fields.add("connection", "close");
    peer.codec().send_response(stream, response);
  });
  CHECK(outcome.said == "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
}

TEST_CASE("http1 server: a body of another length than announced ends the connection") {
  for (const std::string_view body : {"o", "okay"}) {
    const auto outcome = read("GET / HTTP/1.1\r\nhost: a\r\n\r\n", [&](ServerPeer& peer, StreamId stream) {
      answer_with(peer, stream, 200, true, 2);
      peer.codec().send_data(stream, body);
      peer.codec().send_end(stream, nullptr);
    });
    CHECK(outcome.over);
    CHECK(outcome.log.contains("failed 500"));
    CHECK(outcome.said.ends_with(body == "o" ? "\r\n\r\no" : "\r\n\r\n"));
  }
}

TEST_CASE("http1 server: 100 Continue, and being answered without") {
  const std::string head = "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
  ServerPeer polite(nullptr);
  polite.feeder().feed(head);
  Response go_on;
  go_on.status = 100;
  polite.codec().send_interim(1, go_on);
  polite.feeder().feed("x");
  ServerPeer::answer_ok(polite, 1);
  polite.feeder().drain();
  CHECK(polite.feeder().said() == "HTTP/1.1 100 Continue\r\n\r\n" + std::string(kOk));
  CHECK_FALSE(polite.codec().is_over());

  ServerPeer refusing(nullptr);
  refusing.feeder().feed(head);
  ServerPeer::answer_ok(refusing, 1);
  refusing.feeder().drain();
  CHECK(refusing.feeder().said() == kOkClose);
  CHECK(refusing.codec().is_silent());
  refusing.feeder().feed("xGET / HTTP/1.1\r\nhost: a\r\n\r\n");
  CHECK(refusing.told().size() == 1);
  CHECK(refusing.codec().is_over());
}

TEST_CASE("http1 server: early data waits for the answer, and is lost when that is no") {
  struct Asked {
    std::string head;
    unsigned status;
    bool tunnel;
    std::string said;
  };
  const std::string connect = "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n";
  const std::string upgrade =
      "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: h2c, WebSocket\r\nsec-websocket-key: k\r\n\r\n";
  const Asked rows[] = {
      {connect, 200, true, "200 OK\r\nx: y\r\n\r\n"},
      {connect, 403, false, "403 Forbidden\r\nx: y\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
      {upgrade, 101, true, "101 Switching Protocols\r\nx: y\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"},
      {upgrade, 200, false, "200 OK\r\nx: y\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
  };
  const std::string early = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
  for (const auto& row : rows) {
    CAPTURE(row.head);
    CAPTURE(row.status);
    ServerPeer peer(nullptr);
    peer.feeder().feed(row.head + early);
    CHECK(peer.told().size() == 1);
    CHECK(peer.told()[0].request.is_tunnel());
    CHECK(peer.feeder().held() == early);
    answer_with(peer, 1, row.status, false);
    peer.feeder().go_on();
    CHECK(peer.feeder().said() == "HTTP/1.1 " + row.said);
    CHECK(peer.told().size() == 1);
    CHECK(peer.told()[0].body == (row.tunnel ? early : ""));
    CHECK(peer.codec().is_over() == !row.tunnel);
    CHECK(peer.feeder().held().empty());
  }
}

TEST_CASE("http1 server: each direction of a tunnel ends by itself") {
  ServerPeer peer(nullptr);
  peer.feeder().feed("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n");
  answer_with(peer, 1, 200, false);
  peer.feeder().feed("hello");
  peer.feeder().end();
  CHECK(peer.log() == "CONNECT http://a:1\ndata hello\nend\n");
  CHECK_FALSE(peer.codec().is_silent());
  peer.codec().send_data(1, "bye");
  peer.codec().send_end(1, nullptr);
  peer.feeder().drain();
  CHECK(peer.feeder().said().ends_with("\r\n\r\nbye"));
  CHECK(peer.codec().is_over());
}

TEST_CASE("http1 server: the client's end of stream") {
  const auto end_after = [](std::string_view input) { return read(input, ServerPeer::answer_ok, {}, true); };
  CHECK(end_after("GET / HTTP/1.1\r\nhost: a\r\n\r\n").said == kOk);
  CHECK(end_after("GET / HTTP/1.1\r\nhost: a\r\n\r\n").over);
  CHECK(end_after("GET / HTTP/1.1\r\nhost").log.starts_with("failed 400"));
  CHECK(end_after("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nx").log.ends_with("within a request\n"));
  CHECK(end_after("\r\n").log.empty());
}

TEST_CASE("http1 server: chunks that are not") {
  const std::string head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
  std::string extensions;
  for (int i = 0; i < 40; ++i) extensions += "1;" + std::string(900, 'x') + "\r\na\r\n";
  for (const auto& body : std::vector<std::string>{"\r\n",
                                                   "g\r\n",
                                                   "-1\r\n",
                                                   "+1\r\n",
                                                   "0x1\r\nx",
                                                   "1 \r\nx",
                                                   " 1\r\nx",
                                                   "1\nx",
                                                   "1\r\nxx\r\n",
                                                   "1\r\nx\n",
                                                   "1\r\nx\r0\r\n",
                                                   "ffffffffffffffff\r\n",
                                                   "8000000000000000\r\n",
                                                   "10000000000000001\r\n",
                                                   "00000000000000001\r\nx",
                                                   "1;\x01\r\nx",
                                                   "1;a\nb\r\nx",
                                                   "1,x\r\nx",
                                                   "0\r\nx\r\n\r\n",
                                                   "0\r\n x: y\r\n\r\n",
                                                   "0\r\nx: y\nz: 0\r\n\r\n",
                                                   "1;" + std::string(2000, 'x'),
                                                   extensions}) {
    CAPTURE(body);
    const auto outcome = body.size() > 3000 ? run({head + body}, ServerPeer::answer_ok, {}, false) : read(head + body);
    CHECK(outcome.log.contains("\nfailed 400"));
    CHECK(outcome.said == "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  }
}

TEST_CASE("http1 server: memory is bounded") {
  class Slow final : public test::Recorder<ServerEvents> {
   public:
    void on_request(StreamId stream, Request&) override { begin(stream, "request"); }
    void on_refused(StreamId, const Request&, Fault, std::string_view) override {}
    void data(std::string_view) override {}
    void whole() override {}
  } events;
  const Limits limits{.max_buffered = 1000};
  const auto codec = http1::make_server_codec(events, limits);
  const std::string head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n";
  CHECK(codec->receive(head + std::string(3000, 'x')) == head.size() + 1000);
  CHECK_FALSE(codec->wants_input());
  CHECK(codec->receive("x") == 0);
  codec->consume(1, 400);
  CHECK(codec->wants_input());
  CHECK(codec->receive(std::string(3000, 'x')) == 400);

  Response response;
  response.status = 200;
  response.has_body = true;
  codec->send_response(1, response);
  codec->send_data(1, std::string(2000, 'y'));
  CHECK(codec->buffered(1) > 2000);
  codec->sent(codec->output().size());
  CHECK(codec->buffered(1) == 0);
}

TEST_CASE("http1 server: shutting down") {
  ServerPeer idle(nullptr);
  idle.codec().shut_down();
  CHECK(idle.codec().is_over());

  ServerPeer busy(nullptr);
  busy.feeder().feed("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  busy.codec().shut_down();
  CHECK_FALSE(busy.codec().is_over());
  ServerPeer::answer_ok(busy, 1);
  busy.feeder().drain();
  CHECK(busy.feeder().said() == kOkClose);
  CHECK(busy.codec().is_over());
}
