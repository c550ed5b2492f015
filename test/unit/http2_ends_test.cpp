// SPDX-License-Identifier: Apache-2.0
// How streams and connections of the two codecs of HTTP/2 end before they are whole, and what either side is told.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/unit/http2_listeners.h"

using namespace underpass;
using http::Fault;
using test::get;
using test::Http2Pair;
using test::status;
using test::StreamId;
using Lines = std::vector<std::string>;

TEST_CASE("http2 exchange: resets, and what they are called on the other side") {
  struct Row {
    Fault why;
    const char* to_client;
  };
  for (const auto& row : {Row{Fault::kRefused, "reset 1 refused"}, Row{Fault::kCancelled, "reset 1 cancelled"},
                          Row{Fault::kInternal, "reset 1 cancelled"}, Row{Fault::kEndedEarly, "reset 1 cancelled"}}) {
    Http2Pair pair;
    auto request = get("/", "POST");
    request.has_body = true;
    const auto stream = pair.client->send_request(request);
    pair.settle();
    pair.server->reset(stream, row.why);
    CHECK(pair.server->open_streams() == 0);
    pair.server->send_response(stream, status(200));  // for nobody
    pair.settle();
    CHECK(pair.at_client.lines == Lines{row.to_client});
    CHECK(pair.client->is_unseen(stream) == (row.why == Fault::kRefused));
    CHECK(pair.client->open_streams() == 0);
    CHECK(pair.at_server.lines.size() == 1);  // who resets is not told
  }
  Http2Pair pair;
  const auto stream = pair.client->send_request(get("/"));
  pair.settle();
  pair.client->reset(stream, Fault::kCancelled);
  pair.client->reset(stream, Fault::kCancelled);
  pair.settle();
  CHECK(pair.at_server.lines == Lines{"request 1 GET http shop.example / []", "reset 1 cancelled"});
  CHECK(pair.at_client.lines.empty());
}

TEST_CASE("http2 exchange: an answer before the request's end reaches the client, then the rest is stopped") {
  Http2Pair pair;
  pair.settle();
  auto request = get("/", "POST");
  request.has_body = true;
  const auto stream = pair.client->send_request(request);
  pair.client->send_data(stream, std::string(200'000, 'x'));
  pair.at_server.consumes = false;
  pair.settle();
  pair.server->send_response(stream, status(413, true));
  pair.server->send_data(stream, std::string(100'000, 'y'));
  pair.server->send_end(stream, nullptr);
  pair.server->reset(stream, Fault::kNone);
  pair.settle();
  CHECK(pair.at_client.bodies[stream].size() == 100'000);
  CHECK(pair.at_client.lines == Lines{"response 1 413 body []", "end 1", "reset 1 none"});
  CHECK(pair.client->open_streams() == 0);
}

TEST_CASE("http2 exchange: a server that goes lets what is under way end, and says what it never saw") {
  Http2Pair pair;
  const auto first = pair.client->send_request(get("/1"));
  pair.settle();
  pair.server->shut_down();
  const auto second = pair.client->send_request(get("/2"));  // on its way when the notice comes
  Http2Pair::carry(*pair.client, *pair.server, 1'000'000);
  pair.settle();
  CHECK_FALSE(pair.client->can_send());
  CHECK_FALSE(pair.client->is_unseen(first));
  CHECK_FALSE(pair.client->is_unseen(second));
  CHECK_FALSE(pair.server->is_over());
  pair.server->send_response(first, status(200));
  pair.server->send_response(second, status(200));
  pair.settle();
  CHECK(pair.at_client.lines == Lines{"response 1 200 []", "response 3 200 []"});
  CHECK(pair.server->is_over());
  CHECK(pair.client->is_over());
}

TEST_CASE("http2 exchange: requests that were not on the wire when the server went are unseen") {
  Http2Pair pair;
  pair.settle();
  pair.server->shut_down();
  const auto stream = pair.client->send_request(get("/"));
  Http2Pair::carry(*pair.server, *pair.client, 1'000'000);
  pair.settle();
  CHECK(pair.at_client.lines == Lines{"reset 1 refused"});
  CHECK(pair.client->is_unseen(stream));
  CHECK(pair.at_server.lines.empty());
}

TEST_CASE("http2 exchange: a client that goes") {
  Http2Pair pair;
  const auto stream = pair.client->send_request(get("/"));
  pair.settle();
  pair.client->shut_down();
  CHECK_FALSE(pair.client->can_send());
  pair.settle();
  pair.server->send_response(stream, status(200));
  pair.settle();
  CHECK(pair.at_client.lines == Lines{"response 1 200 []"});
  CHECK(pair.client->is_over());
}

TEST_CASE("http2 exchange: the peer's end of stream") {
  Http2Pair idle;
  idle.settle();
  idle.server->receive_end();
  CHECK(idle.at_server.lines.empty());
  CHECK(idle.server->is_over());
  CHECK_FALSE(idle.server->wants_input());

  Http2Pair busy;
  const auto stream = busy.client->send_request(get("/"));
  busy.settle();
  busy.server->receive_end();
  CHECK(busy.at_server.lines.back() == "failed ended early");
  busy.client->receive_end();
  CHECK(busy.at_client.lines == Lines{"failed ended early"});
  CHECK_FALSE(busy.client->is_unseen(stream));
  CHECK(busy.client->open_streams() == 0);
  CHECK_FALSE(busy.client->can_send());
}

TEST_CASE("http2 exchange: what an event may call") {
  Http2Pair pair;
  pair.at_server.when_asked = [&](StreamId id, const http::Request& request) {
    if (request.path == "/no") return pair.server->reset(id, Fault::kRefused);
    pair.server->send_response(id, status(200));
  };
  StreamId second = 0;
  pair.at_client.when_whole = [&](StreamId id) {
    if (id == 1) second = pair.client->send_request(get("/no"));
  };
  pair.client->send_request(get("/"));
  pair.settle(10);
  CHECK(second == 3);
  CHECK(pair.at_client.lines == Lines{"response 1 200 []", "reset 3 refused"});
}

TEST_CASE("http2 exchange: a head may grow on its way, beyond what is taken from a client") {
  http::Limits large;
  large.max_head_bytes = 200'000;
  Http2Pair pair({}, large);
  const auto stream = pair.client->send_request(get("/"));
  pair.settle();
  auto response = status(200);
  for (const auto* name : {"a", "b", "c"}) response.fields.add(name, std::string(30'000, 'x'));
  pair.server->send_response(stream, response);
  pair.settle(100);
  REQUIRE(pair.at_client.lines.size() == 1);
  CHECK(pair.at_client.lines[0].starts_with("response 1 200 [a=x"));
  CHECK(pair.at_client.lines[0].size() > 90'000);
}

TEST_CASE("http2 exchange: a head that is too large to be sent on resets its stream") {
  Http2Pair pair;
  const auto stream = pair.client->send_request(get("/"));
  pair.settle();
  auto response = status(200);
  response.fields.add("x-large", std::string(300'000, 'x'));
  pair.server->send_response(stream, response);
  pair.settle();
  CHECK(pair.at_server.lines.back() == "reset 1 another fault");
  CHECK(pair.at_client.lines == Lines{"reset 1 cancelled"});
}
