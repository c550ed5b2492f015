// SPDX-License-Identifier: Apache-2.0
// Tunnels between the two codecs of HTTP/2 (CONNECT, RFC 8441), and connections that began in HTTP/1.1.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/unit/http2_listeners.h"

using namespace underpass;
using http::Fault;
using test::fields;
using test::get;
using test::Http2Pair;
using test::noise;
using test::status;
using test::StreamId;
using Lines = std::vector<std::string>;

TEST_CASE("http2 exchange: tunnels") {
  struct Row {
    std::string name;
    http::Request request;
    unsigned answer;
    const char* asked;
    const char* answered;
  };
  auto connect = get("", "CONNECT");
  connect.authority = "db.example:5432";
  auto websocket = get("/chat", "CONNECT");
  websocket.protocol = "websocket";
  auto upgrade = get("/chat");
  upgrade.protocol = "websocket";
  upgrade.fields = fields({{"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="}, {"sec-websocket-version", "13"}});
  for (const auto& row : {
           Row{"CONNECT", connect, 200, "request 1 CONNECT http db.example:5432  []", "response 1 200 []"},
           Row{"extended CONNECT", websocket, 200, "request 1 CONNECT http shop.example /chat protocol=websocket []",
               "response 1 200 []"},
           // RFC 6455 §1.3 has this key and its answer.
           Row{"Upgrade", upgrade, 101,
               "request 1 CONNECT http shop.example /chat protocol=websocket [sec-websocket-version=13]",
               "response 1 101 [sec-websocket-accept=s3pPLMBiTxaQ9kYGzzhZRbK+xOo=]"},
       }) {
    CAPTURE(row.name);
    Http2Pair pair;
    const auto stream = pair.client->send_request(row.request);
    pair.settle();
    CHECK(pair.at_server.lines == Lines{row.asked});
    pair.server->send_response(stream, status(row.answer));
    pair.settle();
    CHECK(pair.at_client.lines == Lines{row.answered});
    pair.client->send_data(stream, "ping");
    pair.settle();
    CHECK(pair.at_server.bodies[stream] == "ping");
    pair.client->send_end(stream, nullptr);  // half-closed: the other direction goes on
    pair.settle();
    CHECK(pair.at_server.lines.back() == "end 1");
    pair.server->send_data(stream, "pong");
    pair.server->send_end(stream, nullptr);
    pair.settle();
    CHECK(pair.at_client.bodies[stream] == "pong");
    CHECK(pair.at_client.lines.back() == "end 1");
    CHECK(pair.client->open_streams() == 0);
  }
}

TEST_CASE("http2 exchange: an upgrade waits until the server has said that it takes one") {
  auto upgrade = get("/chat");
  upgrade.protocol = "websocket";
  upgrade.fields.add("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
  const std::string settings_without("\0\0\0\4\0\0\0\0\0", 9);
  SUBCASE("and others behind it wait too, with the numbers that they were given") {
    Http2Pair pair;
    CHECK(pair.client->send_request(get("/first")) == 1);
    const auto given_up = pair.client->send_request(upgrade);
    CHECK(pair.client->send_request(upgrade) == 5);
    const auto post = pair.client->send_request([] {
      auto request = get("/last", "POST");
      request.has_body = true;
      return request;
    }());
    pair.client->send_data(post, "body");
    pair.client->send_end(post, nullptr);
    CHECK(pair.client->open_streams() == 4);
    pair.client->reset(given_up, Fault::kCancelled);
    pair.settle();
    REQUIRE(pair.at_server.lines.size() == 4);
    CHECK(pair.at_server.lines[0].starts_with("request 1 GET"));
    CHECK(pair.at_server.lines[1].starts_with("request 5 CONNECT"));
    CHECK(pair.at_server.lines[2].starts_with("request 7 POST"));
    CHECK(pair.at_server.bodies[post] == "body");
    CHECK(pair.at_client.lines.empty());
    CHECK(pair.client->open_streams() == 3);
  }
  SUBCASE("where it does not, the upgrade is refused, then and later, and the rest goes on") {
    test::ClientListener listener;
    const auto client = http2::make_client_codec({}, listener);
    listener.codec = client.get();
    CHECK(client->takes_upgrades());
    CHECK(client->send_request(upgrade) == 1);
    CHECK(client->send_request(get("/")) == 3);
    client->receive(settings_without);
    CHECK(listener.lines == Lines{"reset 1 another fault"});
    CHECK_FALSE(client->takes_upgrades());
    CHECK(client->send_request(upgrade) == 0);
    CHECK(client->open_streams() == 1);
    CHECK_FALSE(client->output().contains("websocket"));
  }
  SUBCASE("the connection ends before it was said") {
    test::ClientListener listener;
    const auto client = http2::make_client_codec({}, listener);
    listener.codec = client.get();
    const auto stream = client->send_request(upgrade);
    client->receive_end();
    CHECK(listener.lines == Lines{"failed ended early"});
    CHECK(client->is_unseen(stream));
  }
  SUBCASE("a WebSocket without its key is none") {
    Http2Pair pair;
    for (const char* key : {"", "short==", "dGhlIHNhbXBsZSBub25jZQ=!", "dGhlIHNhbXBsZSBub25jZQAA"}) {
      upgrade.fields.set("sec-websocket-key", key);
      CHECK(pair.client->send_request(upgrade) == 0);
    }
    CHECK(pair.client->open_streams() == 0);
  }
}

TEST_CASE("http2 exchange: what comes for a tunnel before the answer waits for it") {
  auto connect = get("", "CONNECT");
  connect.authority = "db.example:5432";
  for (const unsigned code : {200U, 403U}) {
    for (const bool server_ends : {false, true}) {
      Http2Pair pair;
      const auto stream = pair.client->send_request(connect);
      pair.client->send_data(stream, "early");
      pair.client->send_end(stream, nullptr);
      pair.settle();
      CHECK(pair.at_server.lines.size() == 1);
      CHECK(pair.at_server.bodies.empty());
      pair.server->send_response(stream, status(code));
      if (server_ends) pair.server->send_end(stream, nullptr);  // which is not to be faster than what is to be told
      pair.settle();
      CHECK(pair.at_server.bodies[stream] == (code == 200 ? "early" : ""));
      CHECK(pair.at_server.lines.size() == (code == 200 ? 2 : 1));
      CHECK(pair.client->open_streams() == (code == 200 && !server_ends ? 1 : 0));
    }
  }
}

TEST_CASE("http2 exchange: what comes for a tunnel before the answer is at most a window") {
  Http2Pair pair;
  pair.settle();
  auto connect = get("", "CONNECT");
  connect.authority = "db.example:5432";
  const auto stream = pair.client->send_request(connect);
  const auto bytes = noise(200'000);
  pair.client->send_data(stream, bytes);
  pair.settle();
  CHECK(pair.client->buffered(stream) == bytes.size() - http::Limits{}.stream_window);
  pair.server->send_response(stream, status(200));
  pair.settle();
  CHECK(pair.at_server.bodies[stream] == bytes);
}

TEST_CASE("http2 exchange: a tunnel that is declined is an answer like any") {
  Http2Pair pair;
  auto request = get("", "CONNECT");
  request.authority = "db.example:5432";
  const auto stream = pair.client->send_request(request);
  pair.settle();
  pair.server->send_response(stream, status(403));
  pair.server->reset(stream, Fault::kNone);
  pair.settle();
  CHECK(pair.at_client.lines == Lines{"response 1 403 []", "reset 1 none"});
  CHECK(pair.client->open_streams() == 0);
}

TEST_CASE("http2 upgrade: the HTTP/1.1 request is stream 1") {
  test::ServerListener at_server;
  const std::string_view settings("\x00\x03\x00\x00\x00\x64\x00\x04\x00\x01\x00\x00", 12);
  auto made = http2::make_upgraded_server_codec({}, at_server, get("/"), settings);
  REQUIRE(made.has_value());
  auto& server = **made;
  at_server.codec = &server;
  CHECK(server.open_streams() == 1);
  server.send_response(1, status(200, true));
  server.send_data(1, "hello");
  server.send_end(1, nullptr);
  const auto say = [&] {
    auto bytes = std::string(server.output());
    server.sent(bytes.size());
    return bytes;
  };
  CHECK_FALSE(say().contains("hello"));
  server.receive(std::string(http2::kPreface) + std::string("\0\0\0\4\0\0\0\0\0", 9));
  CHECK(say().contains("hello"));
  CHECK(server.open_streams() == 0);
  CHECK(at_server.lines.empty());  // it is told by nobody twice

  // Cut off; no settings; a window that there cannot be; a push that is neither on nor off; frames too small.
  for (const std::string_view bad :
       {std::string_view("\x00\x03\x00\x00\x00", 5), std::string_view("x"),
        std::string_view("\x00\x04\xff\xff\xff\xff", 6), std::string_view("\x00\x02\x00\x00\x00\x02", 6),
        std::string_view("\x00\x05\x00\x00\x00\x01", 6)}) {
    const auto refused = http2::make_upgraded_server_codec({}, at_server, get("/"), bad);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().message.starts_with("HTTP2-Settings: "));
  }
}
