// SPDX-License-Identifier: Apache-2.0
// Peers that ask for work and give nothing: each is told to calm down, in bounded memory, and honest peers are not.
#include <doctest/doctest.h>
#include <malloc.h>

#include <chrono>
#include <string>
#include <vector>

#include "test/unit/http2_frames.h"
#include "test/unit/http2_listeners.h"

using namespace underpass;
using namespace underpass::test;
using Lines = std::vector<std::string>;

namespace {

const std::string kCalm = "goaway ENHANCE_YOUR_CALM";

std::string begin() { return std::string(http2::kPreface) + settings_frame(); }

struct Server {
  explicit Server(const http::Limits& limits = {}) : codec(http2::make_server_codec(limits, heard, time.clock())) {
    heard.codec = codec.get();
    feed(begin());
  }
  // `reads`: whether the peer takes what we say.
  void feed(std::string_view bytes, bool reads = true) {
    codec->receive(bytes);
    if (reads) take();
  }
  void take() {
    for (auto out = codec->output(); !out.empty(); out = codec->output()) {
      said.read(out);
      codec->sent(out.size());
    }
  }
  [[nodiscard]] bool has_failed() const { return codec->is_over(); }
  // How many times `frame` is borne; 0: as often as you like, that is, 20,000 times.
  int times_until_over(const std::function<std::string(int)>& frames, bool reads = true) {
    for (int i = 1; i <= 20'000; ++i) {
      feed(frames(i), reads);
      if (has_failed()) return i;
    }
    return 0;
  }

  Time time;
  ServerListener heard;
  FrameReader said;
  std::unique_ptr<http::ServerCodec> codec;
};

std::uint32_t odd(int i) { return 2 * static_cast<std::uint32_t>(i) - 1; }

std::size_t heap() { return ::mallinfo2().uordblks; }

void check_calm(Server& server) {
  CHECK(server.heard.lines.back() == "failed flood");
  server.take();
  CHECK(server.said.lines.back() == kCalm);
  CHECK(server.codec->open_streams() == 0);
  const auto lines = server.heard.lines.size();
  server.feed(request_frame(99'999));
  CHECK(server.heard.lines.size() == lines);
}

}  // namespace

TEST_CASE("http2 floods: streams that are opened and reset (CVE-2023-44487)") {
  Server server;
  const auto pair = [](int i) { return request_frame(odd(i)) + rst_frame(odd(i)); };
  CHECK(server.times_until_over(pair) == 201);
  check_calm(server);

  // As many in a minute, then again; a second later not one more than a second's worth.
  Server patient;
  for (int i = 1; i <= 200; ++i) patient.feed(pair(i));
  CHECK_FALSE(patient.has_failed());
  patient.time.now += std::chrono::minutes(1);
  for (int i = 201; i <= 400; ++i) patient.feed(pair(i));
  CHECK_FALSE(patient.has_failed());
  patient.time.now += std::chrono::milliseconds(600);  // two
  for (int i = 401; i <= 402; ++i) patient.feed(pair(i));
  CHECK_FALSE(patient.has_failed());
  patient.feed(pair(403));
  CHECK(patient.has_failed());
}

TEST_CASE("http2 floods: the limit of resets is a setting") {
  http::Limits limits;
  limits.max_resets_per_minute = 5;
  Server server(limits);
  CHECK(server.times_until_over([](int i) { return request_frame(odd(i)) + rst_frame(odd(i)); }) == 6);
}

TEST_CASE("http2 floods: streams that we must reset (MadeYouReset) count alike") {
  struct Row {
    std::string name;
    std::function<std::string(std::uint32_t)> frames;
  };
  const std::vector<Row> rows{
      {"too much of a body",
       [](std::uint32_t id) {
         return request_frame(id, {{"content-length", "1"}}, kEndHeaders) + data_frame(id, "ab");
       }},
      {"too little of a body",
       [](std::uint32_t id) {
         return request_frame(id, {{"content-length", "9"}}, kEndHeaders) + data_frame(id, "ab", kEndStream);
       }},
      {"window beyond 2^31",
       [](std::uint32_t id) { return request_frame(id, {}, kEndHeaders) + window_frame(id, 0x7fffffff); }},
      {"bad trailers",
       [](std::uint32_t id) { return request_frame(id, {}, kEndHeaders) + headers_frame(id, {{"connection", "x"}}); }},
      {"bad head", [](std::uint32_t id) { return request_frame(id, {{"connection", "x"}}); }},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    Server server;
    CHECK(server.times_until_over([&](int i) { return row.frames(odd(i)); }) == 201);
    check_calm(server);
  }
  // More streams than allowed, by a peer that does not care for what it is told.
  Server full;
  CHECK(full.times_until_over([](int i) { return request_frame(odd(i), {}, kEndHeaders); }) == 301);
  check_calm(full);
}

TEST_CASE("http2 floods: frames that move nothing") {
  struct Row {
    std::string name;
    std::string frame;
  };
  const std::vector<Row> rows{
      {"PING", ping_frame()},
      {"PING, acknowledged", ping_frame(kAck)},
      {"SETTINGS", settings_frame()},
      {"SETTINGS with a window", settings_frame(setting(4, 1000))},
      {"PRIORITY", frame(NGHTTP2_PRIORITY, 0, 3, big_endian(1, 4) + "\x10")},
      {"WINDOW_UPDATE", window_frame(0, 1)},
      {"WINDOW_UPDATE of a stream", window_frame(1, 1)},
      {"empty DATA", data_frame(1, "")},
      {"DATA of padding", frame(NGHTTP2_DATA, 8, 1, std::string("\x03\0\0\0", 4))},
      {"RST_STREAM of a stream that is over", rst_frame(3)},
      {"empty DATA of a stream that is over", data_frame(3, "")},
      {"DATA of padding of a stream that is over", frame(NGHTTP2_DATA, 8, 3, std::string("\x03\0\0\0", 4))},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    Server server;
    server.feed(request_frame(1, {}, kEndHeaders) + request_frame(3));
    server.codec->send_response(3, status(200));
    server.take();
    const auto times = server.times_until_over([&](int) { return row.frame; });
    CHECK(times > 900);
    CHECK(times <= 1100);
    check_calm(server);

    // In the long run twenty a second are nobody's harm.
    Server slow;
    slow.feed(request_frame(1, {}, kEndHeaders) + request_frame(3));
    slow.codec->send_response(3, status(200));
    slow.take();
    CHECK(slow.times_until_over([&](int) {
      slow.time.now += std::chrono::milliseconds(51);
      return row.frame;
    }) == 0);
  }
}

TEST_CASE("http2 floods: peers that open windows for what they get, and ping, are served for ever") {
  Server server;
  server.feed(request_frame(1));
  server.codec->send_response(1, status(200, true));
  server.take();
  CHECK(server.times_until_over([&](int) {
    server.codec->send_data(1, std::string(1000, 'x'));
    server.take();
    return window_frame(0, 1000) + window_frame(1, 1000) + ping_frame();
  }) == 0);
  CHECK(server.said.bodies.size() == 20'000'000);
}

TEST_CASE("http2 floods: CONTINUATION without end (CVE-2024-27316)") {
  for (const std::string_view block : {std::string_view(), std::string_view("\x00\x01x\x01y", 5)}) {
    Server server;
    server.feed(frame(NGHTTP2_HEADERS, kEndStream, 1, hpack(request_head())));
    CHECK(server.times_until_over([&](int) { return frame(NGHTTP2_CONTINUATION, 0, 1, block); }) == 9);
    check_calm(server);
  }
}

TEST_CASE("http2 floods: a small block that unfolds (HPACK)") {
  for (const bool in_trailers : {false, true}) {
    Server server;
    std::string block = in_trailers ? "" : hpack(request_head());
    block += hpack_literal("x", std::string(3900, 'v'), 0x40);  // into the dynamic table
    block += std::string(12'000, '\xbe');                       // and again, 46 megabytes
    if (in_trailers) server.feed(request_frame(1, {}, kEndHeaders));
    const auto before = heap();
    const auto start = std::chrono::steady_clock::now();
    server.feed(frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1, block));
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
    CHECK(heap() < before + 1'000'000);
    CHECK(server.codec->is_over());
    check_calm(server);
  }
}

TEST_CASE("http2 floods: a head somewhat too large is no reason to hang up") {
  Server server;
  std::string block = hpack(request_head()) + hpack_literal("x", std::string(3900, 'v'), 0x40);
  server.feed(frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1, block + std::string(20, '\xbe')));
  CHECK(server.said.lines == Lines{"headers 1 431 end"});
  server.feed(request_frame(3));
  CHECK(server.heard.lines.back() == "request 3 GET http a.example / []");
}

TEST_CASE("http2 floods: a peer that does not read") {
  for (const std::string& frame : {ping_frame(), settings_frame()}) {
    Server server;
    const auto before = heap();
    CHECK(server.times_until_over([&](int) { return frame; }, false) > 0);
    CHECK(heap() < before + 1'000'000);
    check_calm(server);
  }
  // All in one piece.
  Server server;
  std::string many;
  for (int i = 0; i < 100'000; ++i) many += ping_frame();
  const auto before = heap();
  server.feed(many, false);
  CHECK(heap() < before + 1'000'000);
  check_calm(server);
}

TEST_CASE("http2 floods: a window of nothing, for ever, holds what buffered() let in and no more") {
  Server server;
  server.feed(settings_frame(setting(4, 0)));
  const http::Limits limits;
  const auto before = heap();
  const std::string piece(16UL * 1024, 'x');
  for (int i = 1; i <= 100; ++i) {
    server.feed(request_frame(odd(i)));
    server.codec->send_response(odd(i), status(200, true));
    while (server.codec->buffered(odd(i)) <= limits.max_buffered) server.codec->send_data(odd(i), piece);
    server.take();
  }
  CHECK(server.codec->open_streams() == 100);
  CHECK(server.said.bodies.empty());
  CHECK(heap() < before + 100 * (2 * limits.max_buffered + 2 * piece.size()));
  // A window of one byte is as little as one can ask for; who goes on like that is sent away.
  CHECK(server.times_until_over([&](int) { return window_frame(1, 1); }) == 0);  // each moves a byte
  CHECK(server.said.bodies.size() == 20'000);
}

TEST_CASE("http2 floods: connections and streams leave no memory behind") {
  const auto round = [] {
    Server server;
    for (int i = 1; i <= 500; ++i) {
      server.feed(request_frame(odd(i), {{"x", "y"}}, kEndHeaders) + data_frame(odd(i), "body", kEndStream));
      server.codec->send_response(odd(i), status(200, true));
      server.codec->send_data(odd(i), "answer");
      server.codec->send_end(odd(i), nullptr);
      server.take();
    }
    CHECK(server.codec->open_streams() == 0);
  };
  round();
  const auto before = heap();
  for (int i = 0; i < 20; ++i) round();
  CHECK(heap() < before + 100'000);
}
