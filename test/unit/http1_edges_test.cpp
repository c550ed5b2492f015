// SPDX-License-Identifier: Apache-2.0
// HTTP/1 where one thing meets another: limits to the byte, ends of stream while something is under way, and what an
// event may do.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/http1_peers.h"

using namespace underpass;
using namespace underpass::http;
using test::ClientPeer;
using test::ServerPeer;

namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
constexpr std::string_view kPut = "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";

Request get() {
  Request request;
  request.method = "GET";
  request.authority = "a";
  request.path = "/";
  return request;
}

Response status(unsigned code, bool has_body = false) {
  Response response;
  response.status = code;
  response.has_body = has_body;
  return response;
}

std::string log_of(std::string_view input, const Limits& limits) {
  ServerPeer peer(ServerPeer::answer_ok, limits);
  peer.feeder().feed(input);
  return peer.log();
}

// Counts what the others write down.
struct Counter final : ServerEvents, ClientEvents {
  void on_request(StreamId, Request&) override { ++messages; }
  void on_refused(StreamId, const Request&, Fault, std::string_view) override { ++failures; }
  void on_response(StreamId, Response&) override {
    ++messages;
    if (message) message();
  }
  void on_room() override {
    if (room) room();
  }
  void on_data(StreamId, std::string_view) override {
    if (data) data();
  }
  void on_end(StreamId, const Fields*) override { ++ends; }
  void on_reset(StreamId, Fault) override {}
  void on_writable(StreamId) override { ++writable; }
  void on_failed(Fault, std::string_view) override { ++failures; }

  int messages = 0;
  int failures = 0;
  int writable = 0;
  int ends = 0;
  std::function<void()> room;
  std::function<void()> data;
  std::function<void()> message;
};

}  // namespace

TEST_CASE("http1 edges: a head of the largest size passes, one byte more does not, and each has its own limit") {
  const std::string head = "GET / HTTP/1.1\r\nhost: a\r\nx: " + std::string(60, 'y') + "\r\n\r\n";
  CHECK(log_of(head + head, {.max_head_bytes = head.size()})
            .ends_with("\nGET http://a/ x=" + std::string(60, 'y') + "\n"));
  CHECK(log_of(head, {.max_head_bytes = head.size() - 1}).starts_with("refused 431"));

  const std::string chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
  std::string trailers;
  for (int i = 0; i < 3; ++i) trailers += "x: " + std::string(40, 'y') + "\r\n";
  CHECK(log_of(chunked + trailers + "\r\n", {.max_head_bytes = 140}).contains("\nend x="));
  CHECK(log_of(chunked + trailers + trailers + "\r\n", {.max_head_bytes = 140}).contains("\nfailed 431"));
  CHECK(log_of(chunked + trailers + "\r\n", {.max_fields = 2}).contains("\nfailed 431"));
}

TEST_CASE("http1 edges: Connection may not name more than is worth looking for") {
  std::string names;
  for (int i = 0; i < 33; ++i) names += "x" + std::to_string(i) + ",";
  CHECK(log_of("GET / HTTP/1.1\r\nhost: a\r\nconnection: " + names + "\r\n\r\n", {}).starts_with("refused 400"));
}

TEST_CASE("http1 edges: methods and targets that go together") {
  CHECK(log_of("PRI / HTTP/1.1\r\nhost: a\r\n\r\n", {}).starts_with("refused 400"));
  CHECK(log_of("GET * HTTP/1.1\r\nhost: a\r\n\r\n", {}).starts_with("refused 400"));
}

TEST_CASE("http1 edges: an empty line may come before each request, once") {
  ServerPeer peer(ServerPeer::answer_ok);
  peer.feeder().feed("\r\n" + std::string(kGet) + "\r\n" + std::string(kGet));
  CHECK(peer.told().size() == 2);
}

TEST_CASE("http1 edges: who did not wait for 100 Continue, or got it, keeps the connection") {
  for (const bool told : {false, true}) {
    ServerPeer peer(nullptr);
    peer.feeder().feed(std::string(kPut) + (told ? "" : "x"));
    if (told) peer.codec().send_interim(1, status(100));
    peer.codec().send_response(1, status(200));
    if (told) peer.feeder().feed("x");
    peer.feeder().drain();
    CHECK_FALSE(peer.feeder().said().contains("close"));
    CHECK_FALSE(peer.codec().is_over());
    CHECK(peer.told()[0].whole);
  }
}

TEST_CASE("http1 edges: HTTP/1.0 knows no interim answers") {
  ServerPeer peer(nullptr);
  peer.feeder().feed("GET / HTTP/1.0\r\n\r\n");
  peer.codec().send_interim(1, status(103));
  CHECK(peer.codec().output().empty());
  peer.codec().send_response(1, status(100));
  CHECK(peer.codec().output().empty());
  CHECK(peer.codec().open_streams() == 1);
}

TEST_CASE("http1 edges: answers that nobody reads hold back the requests behind them") {
  Counter events;
  const Limits limits{.max_buffered = 100};
  const auto codec = http1::make_server_codec(events, limits);
  codec->receive(kGet);
  codec->send_response(1, status(200, true));
  codec->send_data(1, std::string(200, 'x'));
  codec->send_end(1, nullptr);
  CHECK(codec->open_streams() == 0);
  CHECK_FALSE(codec->wants_input());
  CHECK(codec->receive(kGet) == 0);
  codec->sent(codec->output().size());
  CHECK(codec->receive(kGet) == kGet.size());
  CHECK(events.messages == 2);
}

TEST_CASE("http1 edges: writers are told when there is room again, once") {
  const Limits limits{.max_buffered = 100};
  const auto check = [](Codec& codec, const Counter& events) {
    codec.sent(codec.output().size());
    codec.send_data(1, std::string(90, 'x'));
    codec.sent(codec.output().size());
    CHECK(events.writable == 0);
    codec.send_data(1, std::string(200, 'x'));
    codec.sent(codec.buffered(1) - 60);
    CHECK(events.writable == 0);
    codec.sent(20);
    CHECK(events.writable == 1);
    codec.sent(codec.output().size());
    CHECK(events.writable == 1);
  };
  Counter served;
  const auto server = http1::make_server_codec(served, limits);
  server->receive(kGet);
  server->send_response(1, status(200, true));
  check(*server, served);

  Counter sent;
  const auto client = http1::make_client_codec(sent, limits);
  auto post = get();
  post.has_body = true;
  client->send_request(post);
  check(*client, sent);
}

TEST_CASE("http1 edges: a client that has said all is answered, and then the connection closes") {
  ServerPeer peer(nullptr);
  peer.feeder().feed(kGet);
  peer.feeder().end();
  CHECK_FALSE(peer.codec().is_over());
  peer.codec().send_response(1, status(204));
  peer.feeder().drain();
  CHECK(peer.feeder().said() == "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
  CHECK(peer.codec().is_over());
}

TEST_CASE("http1 edges: a client that goes within a body is not answered") {
  ServerPeer peer(nullptr);
  peer.feeder().feed(std::string(kPut));
  peer.feeder().end();
  CHECK(peer.feeder().said().empty());
  CHECK(peer.failed());
}

TEST_CASE("http1 edges: a tunnel whose client has ended before it began") {
  ServerPeer peer(nullptr);
  peer.feeder().feed("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n");
  peer.feeder().end();
  peer.codec().send_response(1, status(200));
  CHECK(peer.log() == "CONNECT http://a:1\nend\n");
  CHECK_FALSE(peer.codec().is_over());
  peer.codec().send_end(1, nullptr);
  CHECK(peer.codec().is_over());
}

TEST_CASE("http1 edges: what follows an answer is never the answer to what is asked next") {
  Counter events;
  const Limits limits;
  const auto codec = http1::make_client_codec(events, limits);
  events.room = [&] { codec->send_request(get()); };
  codec->send_request(get());
  codec->receive("HTTP/1.1 204 x\r\n\r\nHTTP/1.1 200 forged\r\ncontent-length: 0\r\n\r\n");
  CHECK(events.messages == 1);
  CHECK(codec->is_over());

  const auto polite = http1::make_client_codec(events, limits);
  events.room = [&] { polite->send_request(get()); };
  polite->send_request(get());
  polite->receive("HTTP/1.1 204 x\r\n\r\n");
  CHECK(polite->open_streams() == 1);
}

TEST_CASE("http1 edges: interim answers come to an end") {
  ClientPeer peer;
  peer.send(get());
  for (int i = 0; i < 1001; ++i) peer.feeder().feed("HTTP/1.1 102 x\r\n\r\n");
  CHECK(peer.log().ends_with("failed 502 too many interim answers\n"));
}

TEST_CASE("http1 edges: a length without a body is not said") {
  ClientPeer peer;
  auto request = get();
  request.content_length = 5;
  peer.send(request);
  CHECK(peer.feeder().said() == "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
}

TEST_CASE("http1 edges: a session may give up, or answer, from within any event") {
  for (const std::string_view input : {kGet, kPut}) {
    ServerPeer peer([](ServerPeer& self, StreamId stream) { self.codec().reset(stream, Fault::kCancelled); });
    peer.feeder().feed(std::string(input) + "x" + std::string(kGet));
    CHECK(peer.told().size() == 1);
    CHECK(peer.codec().is_over());
    CHECK(peer.codec().open_streams() == 0);
    CHECK(peer.feeder().said().empty());
  }
}

TEST_CASE("http1 edges: a stream that is given up with its last byte has no end besides") {
  const Limits limits;
  Counter served;
  const auto server = http1::make_server_codec(served, limits);
  served.data = [&] { server->reset(1, Fault::kCancelled); };
  server->receive(std::string(kPut) + "x");
  CHECK(served.ends == 0);
  CHECK(server->is_over());

  Counter sent;
  const auto client = http1::make_client_codec(sent, limits);
  sent.data = [&] { client->reset(1, Fault::kCancelled); };
  client->send_request(get());
  client->receive("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx");
  CHECK(sent.ends == 0);
  CHECK(client->is_over());
}

TEST_CASE("http1 edges: a connection whose last answer was given up is not used again") {
  const Limits limits;
  Counter events;
  const auto codec = http1::make_client_codec(events, limits);
  events.message = [&] { codec->reset(1, Fault::kCancelled); };
  codec->send_request(get());
  codec->receive("HTTP/1.1 204 x\r\n\r\n");
  CHECK(codec->is_over());
  CHECK_FALSE(codec->can_send());
}
