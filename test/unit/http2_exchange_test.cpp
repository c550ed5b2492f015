// SPDX-License-Identifier: Apache-2.0
// The server's codec and the client's against each other: what one is given is what the other is told.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "test/unit/http2_listeners.h"

using namespace underpass;
using test::fields;
using test::get;
using test::Http2Pair;
using test::noise;
using test::status;
using test::StreamId;
using Lines = std::vector<std::string>;

namespace {

// Sends `body` as fast as buffered() allows, then ends the message.
struct Writer {
  http::Codec& codec;
  StreamId stream;
  std::string_view body;
  std::size_t most = http::Limits{}.max_buffered;
  std::size_t peak = 0;

  void go() {
    while (!body.empty() && codec.buffered(stream) <= most) {
      const auto piece = body.substr(0, 10'000);
      body.remove_prefix(piece.size());
      codec.send_data(stream, piece);
      peak = std::max(peak, codec.buffered(stream));
    }
    if (body.empty()) codec.send_end(stream, nullptr);
  }
};

}  // namespace

TEST_CASE("http2 exchange: heads arrive as they were given, however the bytes are cut") {
  for (const std::size_t chunk : {1UL, 7UL, 65'536UL}) {
    Http2Pair pair;
    auto request = get("/cart?item=7", "POST");
    request.scheme = "https";
    request.content_length = 4;
    request.has_body = request.expects_continue = true;
    request.fields = fields({{"Accept", "*/*"}, {"x-empty", ""}, {"cookie", "a=1"}, {"te", "trailers"}});
    const auto stream = pair.client->send_request(request);
    pair.settle(chunk);
    CHECK(pair.at_server.lines == Lines{"request 1 POST https shop.example /cart?item=7 length=4 body continue "
                                        "[accept=*/*, x-empty=, te=trailers, cookie=a=1]"});

    pair.server->send_interim(stream, status(100));
    auto early = status(103);
    early.fields = fields({{"link", "</a.css>"}});
    pair.server->send_interim(stream, early);
    pair.settle(chunk);
    pair.client->send_data(stream, "body");
    pair.client->send_end(stream, nullptr);
    auto response = status(201, true);
    response.content_length = 2;
    response.fields = fields({{"server", "test"}});
    pair.server->send_response(stream, response);
    pair.server->send_data(stream, "ok");
    pair.server->send_end(stream, nullptr);
    pair.settle(chunk);
    CHECK(pair.at_server.bodies[stream] == "body");
    CHECK(pair.at_server.lines.back() == "end 1");
    CHECK(pair.at_client.bodies[stream] == "ok");
    CHECK(pair.at_client.lines == Lines{"response 1 100 []", "response 1 103 [link=</a.css>]",
                                        "response 1 201 length=2 body [server=test]", "end 1"});
    CHECK(pair.server->open_streams() == 0);
    CHECK(pair.client->open_streams() == 0);
  }
}

TEST_CASE("http2 exchange: fields that have no place in HTTP/2 are not sent") {
  Http2Pair pair;
  auto request = get("/");
  request.fields = fields({{"connection", "x"},
                           {"keep-alive", "1"},
                           {"proxy-connection", "x"},
                           {"upgrade", "h2c"},
                           {"transfer-encoding", "chunked"},
                           {"te", "gzip"},
                           {"host", "other"},
                           {"content-length", "9"},
                           {"http2-settings", "AA"},
                           {":path", "/other"},
                           {"kept", "1"}});
  pair.client->send_request(request);
  pair.settle();
  CHECK(pair.at_server.lines == Lines{"request 1 GET http shop.example / [kept=1]"});
}

TEST_CASE("http2 exchange: what is new in each request pushes nothing out of the table of what comes again") {
  Http2Pair pair;
  pair.settle();
  const std::string cookie(1000, 'c');
  for (int i = 0; i < 100; ++i) {
    auto request = get("/");
    request.fields = fields({{"x-long", cookie},
                             {"x-request-id", std::to_string(i) + std::string(36, 'i')},
                             {"traceparent", std::to_string(i) + std::string(55, 't')}});
    const StreamId stream = pair.client->send_request(request);
    if (i > 0) CHECK(pair.client->output().size() < 300);
    pair.settle();
    pair.server->send_response(stream, status(200));
    pair.settle();
    CHECK(pair.at_server.lines.back().ends_with(test::to_text(request.fields)));
  }
}

TEST_CASE("http2 exchange: answers that have no body whatever their length says") {
  struct Row {
    const char* method;
    unsigned code;
    const char* told;
  };
  for (const auto& row : {Row{"HEAD", 200, "response 1 200 length=5 []"}, Row{"GET", 304, "response 1 304 length=5 []"},
                          Row{"GET", 204, "response 1 204 []"}, Row{"GET", 200, "response 1 200 length=5 body []"}}) {
    Http2Pair pair;
    const auto stream = pair.client->send_request(get("/", row.method));
    pair.settle();
    auto response = status(row.code, true);
    response.content_length = 5;
    pair.server->send_response(stream, response);
    pair.server->send_data(stream, "hello");
    pair.server->send_end(stream, nullptr);
    pair.settle();
    CHECK(pair.at_client.lines.front() == row.told);
    CHECK(pair.at_client.bodies[stream] == (row.code == 200 && row.method == std::string("GET") ? "hello" : ""));
    CHECK(pair.client->open_streams() == 0);
    CHECK(pair.server->open_streams() == 0);
  }
}

TEST_CASE("http2 exchange: trailers both ways, with a body and without") {
  for (const std::string_view body : {"", "some"}) {
    Http2Pair pair;
    auto request = get("/", "POST");
    request.has_body = true;
    const auto stream = pair.client->send_request(request);
    const auto sums = fields({{"x-sum", "1"}, {"content-length", "3"}});
    pair.client->send_data(stream, body);
    pair.client->send_end(stream, &sums);
    pair.settle();
    pair.server->send_response(stream, status(200, true));
    pair.server->send_data(stream, body);
    const auto grpc = fields({{"grpc-status", "7"}, {"grpc-message", "no"}});
    pair.server->send_end(stream, &grpc);
    pair.settle();
    CHECK(pair.at_server.bodies[stream] == body);
    CHECK(pair.at_server.lines == Lines{"request 1 POST http shop.example / body []", "end 1 [x-sum=1]"});
    CHECK(pair.at_client.bodies[stream] == body);
    CHECK(pair.at_client.lines == Lines{"response 1 200 body []", "end 1 [grpc-status=7, grpc-message=no]"});
    CHECK(pair.client->open_streams() == 0);
  }
}

TEST_CASE("http2 exchange: large bodies both ways at once, in bounded memory") {
  Http2Pair pair;
  const auto body = noise(3'000'000);
  auto request = get("/", "POST");
  request.has_body = true;
  const auto stream = pair.client->send_request(request);
  Writer up{*pair.client, stream, body};
  Writer down{*pair.server, stream, body};
  pair.at_client.when_writable = [&](StreamId) { up.go(); };
  pair.at_server.when_writable = [&](StreamId) { down.go(); };
  pair.at_server.when_asked = [&](StreamId id, const http::Request&) {
    pair.server->send_response(id, status(200, true));
    down.go();
  };
  up.go();
  pair.settle(9'999);
  CHECK(pair.at_server.bodies[stream] == body);
  CHECK(pair.at_client.bodies[stream] == body);
  CHECK(pair.at_client.lines.back() == "end 1");
  CHECK(up.peak <= http::Limits{}.max_buffered + 10'000);
  CHECK(down.peak <= http::Limits{}.max_buffered + 10'000);
}

TEST_CASE("http2 exchange: a stream that is not consumed stops at its window, and holds up no other") {
  Http2Pair pair;
  const auto body = noise(2'000'000);
  std::vector<StreamId> streams;
  auto request = get("/", "POST");
  request.has_body = true;
  pair.settle();  // the settings are known
  for (int i = 0; i < 4; ++i) streams.push_back(pair.client->send_request(request));
  pair.at_server.consumes = false;
  for (const auto stream : streams) pair.client->send_data(stream, body);
  pair.settle();
  const auto window = http::Limits{}.stream_window;
  for (const auto stream : streams) CHECK(pair.at_server.bodies[stream].size() == window);

  // Less than half a window is not worth a frame; all of it lets as much in again. The others stay where they are.
  pair.server->consume(streams[0], 10);
  pair.settle();
  CHECK(pair.at_server.bodies[streams[0]].size() == window);
  pair.server->consume(streams[0], 10 * window);  // no more than there is
  pair.settle();
  CHECK(pair.at_server.bodies[streams[0]].size() == 2 * window);
  CHECK(pair.at_server.bodies[streams[1]].size() == window);
  pair.server->consume(streams[0], 1);
  pair.settle();
  CHECK(pair.at_server.bodies[streams[0]].size() == 2 * window);

  const auto last = pair.client->send_request(get("/small"));  // sixteen windows would be the connection's
  pair.settle();
  CHECK(pair.at_server.lines.back() == "request " + std::to_string(last) + " GET http shop.example /small []");
}

TEST_CASE("http2 exchange: the output of a peer that reads slowly stays small") {
  Http2Pair pair;
  pair.settle();
  const auto body = noise(500'000);
  std::vector<StreamId> streams;
  for (int i = 0; i < 50; ++i) streams.push_back(pair.client->send_request(get("/")));
  pair.settle();
  for (const auto stream : streams) {
    pair.server->send_response(stream, status(200, true));
    pair.server->send_data(stream, body);
  }
  CHECK(pair.server->output().size() < 100'000);  // kOutput, and a frame
  CHECK(pair.server->output().size() > 60'000);   // frames are put together
}

TEST_CASE("http2 exchange: on_writable() is told once, at half, and buffered() says what waits") {
  Http2Pair pair;
  pair.settle();
  const auto stream = pair.client->send_request(get("/"));
  pair.settle();
  int told = 0;
  std::size_t left = 0;
  pair.at_server.when_writable = [&](StreamId id) {
    ++told;
    left = pair.server->buffered(id);
  };
  pair.server->send_response(stream, status(200, true));
  pair.server->send_data(stream, std::string(60'000, 'x'));
  CHECK(pair.server->buffered(stream) == 60'000);
  pair.settle();
  CHECK(told == 0);  // it never was above
  pair.at_client.consumes = false;
  pair.server->send_data(stream, std::string(150'000, 'x'));
  pair.settle();
  CHECK(told == 0);
  CHECK(pair.server->buffered(stream) > 64 * 1024);
  pair.client->consume(stream, 64UL * 1024);
  pair.at_client.consumes = true;
  pair.settle();
  pair.client->consume(stream, 64UL * 1024);
  pair.settle();
  CHECK(told == 1);
  CHECK(left <= 32 * 1024);
  CHECK(pair.server->buffered(stream) == 0);
  CHECK(pair.server->buffered(999) == 0);
}

TEST_CASE("http2 exchange: can_send() keeps to the server's number of streams, and on_room() says when it is over") {
  http::Limits few;
  few.max_streams = 3;
  Http2Pair pair(few);
  pair.settle();
  std::vector<StreamId> streams;
  while (pair.client->can_send()) streams.push_back(pair.client->send_request(get("/")));
  REQUIRE(streams.size() == 3);
  pair.settle();
  CHECK(pair.at_client.lines.empty());
  pair.server->send_response(streams[1], status(200));
  pair.settle();
  CHECK(pair.at_client.lines == Lines{"response 3 200 []", "room"});
  CHECK(pair.client->can_send());
  CHECK(pair.client->open_streams() == 2);
}

TEST_CASE("http2 exchange: a hundred streams, their bodies in turns") {
  Http2Pair pair;
  pair.at_server.when_asked = [&](StreamId id, const http::Request& request) {
    pair.server->send_response(id, status(200, true));
    pair.server->send_data(id, std::string(20'000, request.path[1]));
    pair.server->send_end(id, nullptr);
  };
  std::vector<StreamId> streams;
  for (int i = 0; i < 100; ++i) streams.push_back(pair.client->send_request(get(i % 2 == 0 ? "/a" : "/b")));
  pair.settle(1000);
  for (int i = 0; i < 100; ++i) CHECK(pair.at_client.bodies[streams[i]] == std::string(20'000, i % 2 == 0 ? 'a' : 'b'));
  CHECK(pair.client->open_streams() == 0);
}
