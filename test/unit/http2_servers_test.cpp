// SPDX-License-Identifier: Apache-2.0
// What servers may say to the client's codec, and what they may not, as frames made by hand.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/unit/http2_frames.h"
#include "test/unit/http2_listeners.h"

using namespace underpass;
using namespace underpass::test;
using Lines = std::vector<std::string>;

namespace {

struct Client {
  explicit Client(const http::Limits& limits = {}) : codec(http2::make_client_codec(limits, heard, time.clock())) {
    heard.codec = codec.get();
  }
  void feed(std::string_view bytes) {
    CHECK(codec->receive(bytes) == bytes.size());
    for (auto out = codec->output(); !out.empty(); out = codec->output()) {
      said += out;
      codec->sent(out.size());
    }
  }
  // What it said but for the preface.
  Lines lines() {
    FrameReader reader;
    reader.read(std::string_view(said).substr(http2::kPreface.size()));
    return reader.lines;
  }

  Time time;
  ClientListener heard;
  std::string said;
  std::unique_ptr<http::ClientCodec> codec;
};

struct Row {
  std::string name;
  std::string frames;
  Lines heard;
  std::string said_last;  // empty: not looked at
};

// Answers to two requests: 1 is GET, 3 is POST with a body that is under way.
void check(const Row& row) {
  CAPTURE(row.name);
  const auto bytes = settings_frame() + row.frames;
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Client client;
    client.codec->send_request(get("/"));
    auto post = get("/", "POST");
    post.has_body = true;
    client.codec->send_request(post);
    client.feed("");  // what is not said cannot be answered
    client.feed(bytes.substr(0, cut));
    client.feed(bytes.substr(cut));
    CAPTURE(client.heard.failure);
    REQUIRE(client.heard.lines == row.heard);
    if (!row.said_last.empty()) REQUIRE(client.lines().back() == row.said_last);
    client.codec->receive_end();
    REQUIRE(client.codec->open_streams() == 0);
    if (bytes.size() > 2000) return;
  }
}

Pairs head(const char* code, const Pairs& more = {}) {
  Pairs all{{":status", code}};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("http2 servers: answers") {
  for (const auto& row : {
           Row{"without a body", headers_frame(1, head("200")), {"response 1 200 []"}, ""},
           Row{"with one",
               headers_frame(1, head("200", {{"content-length", "2"}}), kEndHeaders) + data_frame(1, "ok", kEndStream),
               {"response 1 200 length=2 body []", "end 1"},
               ""},
           Row{"interim",
               headers_frame(1, head("100"), kEndHeaders) + headers_frame(1, head("103"), kEndHeaders) +
                   headers_frame(1, head("204")),
               {"response 1 100 []", "response 1 103 []", "response 1 204 []"},
               ""},
           Row{"trailers alone",
               headers_frame(1, head("200"), kEndHeaders) + headers_frame(1, {{"grpc-status", "0"}}),
               {"response 1 200 body []", "end 1 [grpc-status=0]"},
               ""},
           Row{"underscores are the server's business",
               headers_frame(1, head("200", {{"a_b", "c"}})),
               {"response 1 200 [a_b=c]"},
               ""},
           Row{"before the request's end",
               headers_frame(3, head("413")) + rst_frame(3, NGHTTP2_NO_ERROR),
               {"response 3 413 []", "reset 3 none"},
               ""},
       })
    check(row);
}

TEST_CASE("http2 servers: answers that are none") {
  const std::string bad = "reset 1 bad response";
  const std::string reset = "reset 1 PROTOCOL_ERROR";
  for (const auto& row : {
           Row{"no :status", headers_frame(1, {{"a", "b"}}), {bad}, reset},
           Row{":status 101", headers_frame(1, head("101"), kEndHeaders), {bad}, reset},
           Row{":status of letters", headers_frame(1, head("abc")), {bad}, reset},
           Row{":status 042", headers_frame(1, head("042")), {bad}, reset},
           Row{"two :status", headers_frame(1, {{":status", "200"}, {":status", "200"}}), {bad}, reset},
           Row{":path", headers_frame(1, head("200", {{":path", "/"}})), {bad}, reset},
           Row{"connection", headers_frame(1, head("200", {{"connection", "close"}})), {bad}, reset},
           Row{"transfer-encoding", headers_frame(1, head("200", {{"transfer-encoding", "chunked"}})), {bad}, reset},
           Row{"upper case", headers_frame(1, head("200", {{"A", "b"}})), {bad}, reset},
           Row{"value with LF", headers_frame(1, head("200", {{"a", "b\nc"}})), {bad}, reset},
           Row{"ends with an interim answer", headers_frame(1, head("100")), {bad}, reset},
           Row{"body of 204",
               headers_frame(1, head("204"), kEndHeaders) + data_frame(1, "x", kEndStream),
               {"response 1 204 body []", bad},
               reset},
           Row{"too long",
               headers_frame(1, head("200", {{"content-length", "1"}}), kEndHeaders) + data_frame(1, "xy"),
               {"response 1 200 length=1 body []", bad},
               reset},
           Row{"too short",
               headers_frame(1, head("200", {{"content-length", "2"}}), kEndHeaders) + data_frame(1, "x", kEndStream),
               {"response 1 200 length=2 body []", bad},
               reset},
           Row{"body after an interim answer",
               headers_frame(1, head("100"), kEndHeaders) + data_frame(1, "x"),
               {"response 1 100 []", bad},
               reset},
           Row{"bad trailers",
               headers_frame(1, head("200"), kEndHeaders) + headers_frame(1, {{"connection", "x"}}),
               {"response 1 200 body []", bad},
               reset},
           Row{"trailers with content-length",
               headers_frame(1, head("200"), kEndHeaders) + headers_frame(1, {{"content-length", "1"}}),
               {},
               reset},
       }) {
    if (row.heard.empty()) {  // told when the whole was read
      check({row.name, row.frames, {"response 1 200 body []", bad}, ""});
    } else {
      check(row);
    }
  }
}

TEST_CASE("http2 servers: errors of the connection") {
  const Lines failed{"failed bad response"};
  for (const auto& row : {
           Row{"DATA without an answer", data_frame(1, "x"), failed, "goaway PROTOCOL_ERROR"},
           Row{"a stream that was not asked for", headers_frame(5, head("200")), failed, "goaway PROTOCOL_ERROR"},
           Row{"a stream of its own", headers_frame(2, head("200")), failed, "goaway PROTOCOL_ERROR"},
           Row{"PUSH_PROMISE", frame(NGHTTP2_PUSH_PROMISE, kEndHeaders, 1, big_endian(2, 4) + hpack(request_head())),
               failed, "goaway PROTOCOL_ERROR"},
           Row{"no HPACK", frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"), failed,
               "goaway COMPRESSION_ERROR"},
           Row{"reset of an idle stream", rst_frame(5), failed, "goaway PROTOCOL_ERROR"},
           Row{"GOAWAY that goes up",
               goaway_frame(1) + goaway_frame(3),
               {"reset 3 refused", "failed bad response"},
               "goaway PROTOCOL_ERROR"},
           Row{"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n", failed, "goaway FRAME_SIZE_ERROR"},
       })
    check(row);
}

TEST_CASE("http2 servers: GOAWAY and REFUSED_STREAM say what was not looked at") {
  Client client;
  const auto first = client.codec->send_request(get("/1"));
  const auto second = client.codec->send_request(get("/2"));
  const auto third = client.codec->send_request(get("/3"));
  CHECK(client.codec->is_unseen(first));  // not on the wire
  client.feed(settings_frame());
  CHECK_FALSE(client.codec->is_unseen(first));
  client.feed(rst_frame(second, NGHTTP2_REFUSED_STREAM));
  CHECK(client.heard.lines.back() == "reset 3 refused");
  CHECK(client.codec->is_unseen(second));
  CHECK(client.codec->can_send());
  client.feed(goaway_frame(first));
  CHECK(client.heard.lines.back() == "reset 5 refused");
  CHECK(client.codec->is_unseen(third));
  CHECK_FALSE(client.codec->is_unseen(first));
  CHECK_FALSE(client.codec->can_send());
  CHECK_FALSE(client.codec->is_over());
  client.feed(headers_frame(first, head("200")));
  CHECK(client.heard.lines.back() == "response 1 200 []");
  CHECK(client.codec->is_over());
}

TEST_CASE("http2 servers: a smaller number of streams, told late, and none at all") {
  Client client;
  std::vector<StreamId> streams;
  for (int i = 0; i < 5; ++i) streams.push_back(client.codec->send_request(get("/")));
  client.feed(settings_frame(setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2)));
  CHECK_FALSE(client.codec->can_send());
  for (const auto stream : {streams[0], streams[1], streams[2], streams[3]})
    client.feed(headers_frame(stream, head("200")));
  CHECK(client.heard.lines.back() == "room");
  CHECK(client.codec->can_send());
  client.feed(settings_frame(setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0)));
  CHECK_FALSE(client.codec->can_send());
}

TEST_CASE("http2 servers: too large a head resets its stream, a bomb ends the connection") {
  const auto line = hpack_literal("x", std::string(3900, 'v'), 0x40);
  Client client;
  client.codec->send_request(get("/"));
  client.codec->send_request(get("/"));
  client.feed("");
  client.feed(settings_frame() +
              frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1, hpack(head("200")) + line + std::string(20, '\xbe')));
  CHECK(client.heard.lines == Lines{"reset 1 bad response"});
  client.feed(frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 3, hpack(head("200")) + std::string(9000, '\xbe')));
  CHECK(client.heard.lines.back() == "failed flood");
  CHECK(client.lines().back() == "goaway ENHANCE_YOUR_CALM");
}

TEST_CASE("http2 servers: floods") {
  struct Flood {
    std::string name;
    std::string frame;
    int most;
  };
  for (const auto& flood : {
           Flood{"interim answers", headers_frame(1, head("100"), kEndHeaders), 300},
           Flood{"PING", ping_frame(), 1100},
           Flood{"SETTINGS", settings_frame(), 1100},
           Flood{"empty DATA", data_frame(3, ""), 1100},
           Flood{"GOAWAY", goaway_frame(3), 1100},
       }) {
    CAPTURE(flood.name);
    Client client;
    client.codec->send_request(get("/"));
    client.codec->send_request(get("/"));
    client.feed("");
    client.feed(settings_frame() + headers_frame(3, head("200"), kEndHeaders));
    int times = 0;
    while (times < 5000 && !client.codec->is_over()) {
      client.feed(flood.frame);
      ++times;
    }
    CHECK(times <= flood.most);
    CHECK(times >= 100);
    CHECK(client.heard.lines.back() == "failed flood");
    CHECK(client.lines().back() == "goaway ENHANCE_YOUR_CALM");
  }
}
