// SPDX-License-Identifier: Apache-2.0
// What the client's side of HTTP/1 sends, and which answers it believes. Each answer is fed whole, byte by byte, and
// split at every place, and must come to the same.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/http1_peers.h"

using namespace underpass;
using namespace underpass::http;
using test::ClientPeer;

namespace {

Request get(std::string_view method = "GET") {
  Request request;
  request.method = method;
  request.authority = "a";
  request.path = "/";
  return request;
}

Request upgrade() {
  auto request = get();
  request.protocol = "websocket";
  return request;
}

Request connect() {
  auto request = get("CONNECT");
  request.authority = "a:1";
  request.path = "";
  return request;
}

Request extended_connect() {
  auto request = get("CONNECT");
  request.protocol = "websocket";
  return request;
}

struct Outcome {
  std::string log;
  bool over = false;

  bool operator==(const Outcome&) const = default;
};

Outcome run(const Request& request, const std::vector<std::string_view>& pieces, bool end) {
  ClientPeer peer;
  CHECK(peer.send(request, "x") == 1);
  for (const auto piece : pieces) peer.feeder().feed(piece);
  if (end) peer.feeder().end();
  return {.log = peer.log().substr(5), .over = peer.codec().is_over()};
}

// However it is cut.
Outcome read(const Request& request, std::string_view input, bool end = false) {
  const auto whole = run(request, {input}, end);
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < input.size(); ++i) bytes.push_back(input.substr(i, 1));
  CHECK(run(request, bytes, end) == whole);
  for (std::size_t at = 1; at < input.size(); ++at)
    if (const auto split = run(request, {input.substr(0, at), input.substr(at)}, end); split != whole)
      FAIL_CHECK("split at " << at << ": " << split.log << " instead of " << whole.log);
  return whole;
}

std::string said(const Request& request, std::string_view body = {}) {
  ClientPeer peer;
  CHECK(peer.send(request, body) == 1);
  return peer.feeder().said();
}

}  // namespace

TEST_CASE("http1 client: what is sent") {
  CHECK(said(get()) == "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  CHECK(said(get("POST")) == "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
  CHECK(said(connect()) == "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n");
  CHECK(said(upgrade()) == "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");

  auto put = get("PUT");
  put.version = Version::kHttp10;
  put.fields.add("TE", "trailers");
  put.fields.add("x", "y");
  put.has_body = true;
  CHECK(said(put, "body") ==
        "PUT / HTTP/1.1\r\nhost: a\r\nx: y\r\nconnection: te\r\nte: trailers\r\n"
        "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
  put.content_length = 4;
  put.expects_continue = true;
  put.fields.clear();
  CHECK(said(put, "body") == "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\nbody");

  auto options = get("OPTIONS");
  options.path = "*";
  CHECK(said(options) == "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");

  const auto bridged = said(extended_connect());
  CHECK(bridged.starts_with("GET / HTTP/1.1\r\nhost: a\r\nsec-websocket-key: "));
  CHECK(bridged.ends_with("==\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"));
  CHECK(bridged != said(extended_connect()));
}

TEST_CASE("http1 client: what would be more than one message is not sent") {
  const auto unsayable = [](const std::function<void(Request&)>& change, Request request) {
    change(request);
    ClientPeer peer;
    CHECK(peer.send(request) == 0);
    CHECK(peer.feeder().said().empty());
    CHECK(peer.codec().can_send());
  };
  unsayable([](Request& r) { r.method = "GET / HTTP/1.1\r\nx:"; }, get());
  unsayable([](Request& r) { r.method.clear(); }, get());
  unsayable([](Request& r) { r.path = "/ HTTP/1.1\r\nx: y"; }, get());
  unsayable([](Request& r) { r.path = "*"; }, get());
  unsayable([](Request& r) { r.path = "x"; }, get());
  unsayable([](Request& r) { r.path.clear(); }, get());
  unsayable([](Request& r) { r.authority = "a\r\nx: y"; }, get());
  unsayable([](Request& r) { r.authority.clear(); }, connect());
  for (const char* protocol : {"x/\r\ny", "h2c", "H2C", "h2c/1", "h2c-14", "h2", "http/1.1", "TLS/1.2", "tls", "/x"})
    unsayable([protocol](Request& r) { r.protocol = protocol; }, upgrade());

  auto evil = get();
  evil.fields.add("x", "a\r\n\r\nGET /b");
  evil.fields.add("transfer-encoding", "chunked");
  evil.fields.add("content-length", "5");
  evil.fields.add("host", "b");
  CHECK(said(evil) == "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
}

TEST_CASE("http1 client: answers") {
  struct Row {
    Request request;
    std::string_view input;
    std::string_view log;
    bool over;
  };
  const Row rows[] = {
      {get(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok", "200 x=y [2] [body]\ndata ok\nend\n", false},
      {get(), "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", "200 [0]\n", false},
      {get(), "HTTP/1.1 299 \r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "299 [0]\n", true},
      {get(), "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", "200 [0]\n", true},
      {get(), "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", "200 [0]\n", false},
      {get(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\nSet-Cookie: z\r\n\r\n",
       "200 [body]\ndata ok\nend x=y\n", false},
      {get(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nlink: y\r\n\r\nHTTP/1.1 204 z\r\n\r\n",
       "100\n103 link=y\n204\n", false},
      {get(), "HTTP/1.1 304 x\r\ncontent-length: 9\r\n\r\n", "304 [9]\n", false},
      {get(), "HTTP/1.1 204 x\r\ncontent-length: 9\r\n\r\n", "204\n", false},
      {get("HEAD"), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "200 [9]\n", false},
      {get("HEAD"), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200\n", false},
      {get(), "HTTP/1.1 204 x\r\n\r\nextra", "204\n", true},
      {get(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", "200 [2] [body]\ndata ok\nend\n",
       true},
      {get(),
       "HTTP/1.1 200 OK\r\nconnection: x, content-type\r\nx: 1\r\ny_z: 2\r\ncontent-type: t\r\n"
       "content-length: 0\r\n\r\n",
       "200 y_z=2 [0]\n", false},
      {connect(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello there", "200\ndata hello there", false},
      {connect(), "HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n", "403 [0]\n", true},
      {upgrade(), "HTTP/1.1 101 x\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-accept: s\r\n\r\nhi",
       "101 sec-websocket-accept=s\ndata hi", false},
      {upgrade(), "HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n", "200 [0]\n", true},
      {extended_connect(),
       "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s\r\n\r\nhi",
       "200\ndata hi", false},
      {extended_connect(), "HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n", "404 [0]\n", true},
  };
  for (const auto& row : rows) {
    CAPTURE(row.input);
    const auto outcome = read(row.request, row.input);
    CHECK(outcome.log == row.log);
    CHECK(outcome.over == row.over);
  }
}

TEST_CASE("http1 client: a body that ends with the stream") {
  const auto outcome = read(get(), "HTTP/1.1 200 OK\r\n\r\nuntil the end", true);
  CHECK(outcome.log == "200 [body]\ndata until the end\nend\n");
  CHECK(outcome.over);
}

TEST_CASE("http1 client: answers that are not believed") {
  for (const std::string_view input :
       {"HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000\r\n",
        "HTTP/1.1 200OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/2.0 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        "HTTP/1.1 099 x\r\n",
        "HTTP/1.1 -20 x\r\n",
        "HTTP/1.1 200 O\x01K\r\n",
        "\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nx: y\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n",
        "HTTP/1.1 200 OK\r\nx : a\r\n",
        "HTTP/1.1 200 OK\r\nhost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1,1\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551617\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"}) {
    CAPTURE(input);
    const auto outcome = read(get(), input);
    CHECK(outcome.log.starts_with("failed 502"));
    CHECK(outcome.over);
  }
  for (const std::string_view input : {"HTTP/1.1 101 x\r\n\r\n", "HTTP/1.1 101 x\r\nupgrade: websocket\r\n\r\n",
                                       "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n"})
    CHECK(read(upgrade(), input).log.starts_with("failed 502"));
  CHECK(read(connect(), "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").log.starts_with("failed 502"));
  CHECK(read(extended_connect(), "HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n").log.starts_with("failed 502"));
  CHECK(read(get(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 \r\nok").log.ends_with("something else\n"));
}

TEST_CASE("http1 client: an answer that is cut off") {
  for (const std::string_view input : {"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nx", "HTTP/1.1 100 x\r\n\r\n",
                                       "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
                                       "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"}) {
    CAPTURE(input);
    CHECK(read(get(), input, true).log.ends_with("failed 400 the server closed within an answer\n"));
  }
}

TEST_CASE("http1 client: a connection is used again, and known not to have been looked at") {
  const std::string_view ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
  ClientPeer peer;
  CHECK(peer.send(get()) == 1);
  CHECK_FALSE(peer.codec().can_send());
  CHECK(peer.send(get()) == 0);
  peer.feeder().feed(ok);
  CHECK(peer.codec().can_send());
  CHECK(peer.send(get()) == 2);
  peer.feeder().end();
  CHECK(peer.codec().is_unseen(2));
  CHECK_FALSE(peer.codec().is_unseen(1));
  CHECK(peer.failed());

  ClientPeer heard;
  heard.send(get());
  heard.feeder().feed(ok);
  heard.send(get());
  heard.feeder().feed("H");
  heard.feeder().end();
  CHECK_FALSE(heard.codec().is_unseen(2));

  ClientPeer first;
  first.send(get());
  first.feeder().end();
  CHECK_FALSE(first.codec().is_unseen(1));
}

TEST_CASE("http1 client: what nobody asked for ends an idle connection") {
  ClientPeer peer;
  peer.feeder().feed("HTTP/1.1 408 x\r\ncontent-length: 0\r\n\r\n");
  CHECK(peer.codec().is_over());
  CHECK_FALSE(peer.codec().can_send());
  CHECK(peer.log().empty());
}

TEST_CASE("http1 client: an answer that is whole before the request ends the connection") {
  auto post = get("POST");
  post.has_body = true;
  struct Events final : ClientEvents {
    void on_response(StreamId, Response& response) override { status = response.status; }
    void on_room() override { room = true; }
    void on_data(StreamId, std::string_view) override {}
    void on_end(StreamId, const Fields*) override { ended = true; }
    void on_reset(StreamId, Fault) override {}
    void on_writable(StreamId) override {}
    void on_failed(Fault, std::string_view) override {}
    unsigned status = 0;
    bool room = false;
    bool ended = false;
  } events;
  const Limits limits;
  const auto codec = http1::make_client_codec(events, limits);
  CHECK(codec->send_request(post) == 1);
  codec->send_data(1, "part");
  codec->receive("HTTP/1.1 413 x\r\ncontent-length: 1\r\n\r\nx");
  CHECK(events.status == 413);
  CHECK(events.ended);
  CHECK_FALSE(events.room);
  CHECK(codec->is_over());
  CHECK(codec->open_streams() == 0);
  codec->send_data(1, "more");
  CHECK(codec->output().empty());
}

TEST_CASE("http1 client: early data is held back until a tunnel is agreed on") {
  for (const bool agreed : {true, false}) {
    ClientPeer peer;
    CHECK(peer.send(connect()) == 1);
    const auto head = peer.feeder().said();
    peer.codec().send_data(1, "early");
    peer.codec().send_end(1, nullptr);
    peer.feeder().drain();
    CHECK(peer.feeder().said() == head);
    CHECK(peer.codec().buffered(1) == 5);
    peer.feeder().feed(agreed ? "HTTP/1.1 200 x\r\n\r\n" : "HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n");
    CHECK(peer.feeder().said() == head + (agreed ? "early" : ""));
    CHECK(peer.codec().is_silent());
    CHECK(peer.codec().is_over() == !agreed);
    peer.feeder().feed(agreed ? "late" : "");
    CHECK(peer.log().contains("data late") == agreed);
    peer.feeder().end();
    CHECK(peer.codec().is_over());
  }
}

TEST_CASE("http1 client: a body of another length than announced is not passed off as whole") {
  for (const std::string_view body : {"xy", "xyzw"}) {
    ClientPeer peer;
    auto post = get("POST");
    post.has_body = true;
    post.content_length = 3;
    CHECK(peer.send(post, body) == 1);
    CHECK(peer.log().contains("failed 500"));
    CHECK(peer.codec().is_over());
    CHECK(peer.codec().output().empty());
  }
}

TEST_CASE("http1 client: reset and shut_down") {
  ClientPeer reset;
  reset.send(get());
  reset.codec().reset(1, Fault::kCancelled);
  CHECK(reset.codec().is_over());
  CHECK_FALSE(reset.codec().can_send());

  ClientPeer draining;
  draining.send(get());
  draining.codec().shut_down();
  CHECK_FALSE(draining.codec().is_over());
  draining.feeder().feed("HTTP/1.1 204 x\r\n\r\n");
  CHECK(draining.codec().is_over());
  CHECK(draining.log() == "sent\n204\n");
}
