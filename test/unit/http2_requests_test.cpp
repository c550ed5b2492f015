// SPDX-License-Identifier: Apache-2.0
// Requests as frames made by hand: what a server's codec takes, what it refuses, and how; each row also cut in two at
// every byte, and ended at every byte.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/unit/http2_frames.h"
#include "test/unit/http2_listeners.h"

using namespace underpass;
using namespace underpass::test;
using Lines = std::vector<std::string>;

namespace {

std::string begin() { return std::string(http2::kPreface) + settings_frame(); }

// A server that answers what it is told of with 200.
struct Server {
  explicit Server(const http::Limits& limits = {}) : codec(http2::make_server_codec(limits, heard)) {
    heard.codec = codec.get();
    heard.when_whole = [this](StreamId id) { codec->send_response(id, status(200)); };
  }
  void feed(std::string_view bytes) {
    CHECK(codec->receive(bytes) == bytes.size());
    for (auto out = codec->output(); !out.empty(); out = codec->output()) {
      said.read(out);
      codec->sent(out.size());
    }
  }

  ServerListener heard;
  FrameReader said;
  std::unique_ptr<http::ServerCodec> codec;
};

struct Row {
  std::string name;
  std::string frames;
  Lines heard;
  Lines said;
};

void check(const Row& row, const http::Limits& limits = {}) {
  CAPTURE(row.name);
  const auto bytes = begin() + row.frames;
  Server whole(limits);
  whole.feed(bytes);
  CAPTURE(whole.heard.failure);
  CHECK(whole.heard.lines == row.heard);
  CHECK(whole.said.lines == row.said);
  CHECK(whole.said.is_whole());
  if (bytes.size() > 2000) return;
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Server halves(limits);
    halves.feed(bytes.substr(0, cut));
    halves.feed(bytes.substr(cut));
    REQUIRE(halves.heard.lines == row.heard);
    REQUIRE(halves.said.lines == row.said);

    Server ended(limits);
    ended.feed(bytes.substr(0, cut));
    ended.codec->receive_end();
    REQUIRE(ended.codec->is_over());
    REQUIRE(ended.codec->open_streams() == 0);
  }
}

// One request, which is stream 1.
std::string asked(const std::string& rest) { return "request 1 " + rest; }
Row accepted(const char* name, const Pairs& head, const std::string& rest) {
  return {name, headers_frame(1, head), {asked(rest)}, {"headers 1 200 end"}};
}
Row answered(const char* name, const Pairs& head, const char* why, const char* code) {
  return {name, headers_frame(1, head), {std::string("refused 1 ") + why}, {std::string("headers 1 ") + code + " end"}};
}
Row malformed(const char* name, const Pairs& head) {
  return {name, headers_frame(1, head), {"refused 1 bad request"}, {"reset 1 PROTOCOL_ERROR"}};
}

Pairs head_of(std::string method, std::string scheme, std::string authority, std::string path) {
  return {{":method", std::move(method)},
          {":scheme", std::move(scheme)},
          {":authority", std::move(authority)},
          {":path", std::move(path)}};
}

}  // namespace

TEST_CASE("http2 requests: accepted heads") {
  for (const auto& row : {
           accepted("plain", request_head(), "GET http a.example / []"),
           accepted("https", head_of("GET", "HTTPS", "a.example", "/"), "GET https a.example / []"),
           accepted("OPTIONS *", head_of("OPTIONS", "http", "a.example", "*"), "OPTIONS http a.example * []"),
           accepted("unknown method", head_of("BREW", "http", "a.example:80", "/a?b"),
                    "BREW http a.example:80 /a?b []"),
           accepted("Host alone", {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "b.example"}},
                    "GET http b.example / []"),
           accepted("Host that is :authority", request_head({{"host", "A.example:80"}}), "GET http a.example / []"),
           accepted("te: trailers", request_head({{"te", "trailers"}}), "GET http a.example / [te=trailers]"),
           accepted("cookies are one field", request_head({{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}}),
                    "GET http a.example / [x=y, cookie=a=1; b=2]"),
           accepted("bytes above 127", request_head({{"x", "\xc3\xa4"}}), "GET http a.example / [x=\xc3\xa4]"),
           accepted("an empty body has a length", request_head({{"content-length", "0"}}),
                    "GET http a.example / length=0 []"),
           accepted("Expect without a body", request_head({{"expect", "100-Continue"}}), "GET http a.example / []"),
           accepted("another Expect", request_head({{"expect", "x"}}), "GET http a.example / [expect=x]"),
       })
    check(row);
}

TEST_CASE("http2 requests: heads that nghttp2 refuses") {
  for (const auto& row : {
           malformed("no :method", {{":scheme", "http"}, {":authority", "a.example"}, {":path", "/"}}),
           malformed("no :path", {{":method", "GET"}, {":scheme", "http"}, {":authority", "a.example"}}),
           malformed("no :scheme", {{":method", "GET"}, {":authority", "a.example"}, {":path", "/"}}),
           malformed("no authority", {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}),
           malformed("empty :path", head_of("GET", "http", "a.example", "")),
           malformed(
               "two :path",
               {{":method", "GET"}, {":path", "/"}, {":path", "/b"}, {":scheme", "http"}, {":authority", "a.example"}}),
           malformed("two :authority", request_head({{":authority", "b.example"}})),
           malformed("unknown pseudo-header", {{":method", "GET"}, {":x", "y"}}),
           malformed(
               "pseudo-header after a field",
               {{":method", "GET"}, {":scheme", "http"}, {"x", "y"}, {":authority", "a.example"}, {":path", "/"}}),
           malformed(":status", request_head({{":status", "200"}})),
           malformed(":path without /", head_of("GET", "http", "a.example", "a")),
           malformed("* of GET", head_of("GET", "http", "a.example", "*")),
           malformed(":path with a space", head_of("GET", "http", "a.example", "/a HTTP/1.1")),
           malformed(":path with CRLF", head_of("GET", "http", "a.example", "/\r\nx: y")),
           malformed(":path with NUL", head_of("GET", "http", "a.example", std::string("/\0", 2))),
           malformed(":method with a space", head_of("GET /x", "http", "a.example", "/")),
           malformed(":authority with a slash", head_of("GET", "http", "a.example/", "/")),
           malformed(":scheme with CRLF", head_of("GET", "http\r\n", "a.example", "/")),
           malformed("two Hosts", request_head({{"host", "a.example"}, {"host", "a.example"}})),
           malformed("upper case", request_head({{"X-Y", "z"}})),
           malformed("empty name", request_head({{"", "z"}})),
           malformed("name with a colon", request_head({{"x:y", "z"}})),
           malformed("name with a space", request_head({{"x y", "z"}})),
           malformed("name with CRLF", request_head({{"x\r\ny", "z"}})),
           malformed("value with CR", request_head({{"x", "a\rb"}})),
           malformed("value with LF", request_head({{"x", "a\nb"}})),
           malformed("value with NUL", request_head({{"x", std::string("a\0b", 3)}})),
           malformed("value begins with a space", request_head({{"x", " a"}})),
           malformed("value ends with a tab", request_head({{"x", "a\t"}})),
           malformed("connection", request_head({{"connection", "close"}})),
           malformed("keep-alive", request_head({{"keep-alive", "1"}})),
           malformed("proxy-connection", request_head({{"proxy-connection", "close"}})),
           malformed("transfer-encoding", request_head({{"transfer-encoding", "chunked"}})),
           malformed("upgrade", request_head({{"upgrade", "h2c"}})),
           malformed("te: gzip", request_head({{"te", "gzip"}})),
           malformed("two content-lengths", request_head({{"content-length", "0"}, {"content-length", "0"}})),
           malformed("content-length that is none", request_head({{"content-length", "+0"}})),
           malformed("content-length of two numbers", request_head({{"content-length", "0, 0"}})),
           malformed("content-length beyond 64 bits", request_head({{"content-length", "99999999999999999999"}})),
           malformed("content-length without a body", request_head({{"content-length", "1"}})),
           malformed("CONNECT with :path", head_of("CONNECT", "http", "a.example:1", "/")),
           malformed("CONNECT without :authority", {{":method", "CONNECT"}, {"host", "a.example:1"}}),
           malformed(":protocol of GET", request_head({{":protocol", "websocket"}})),
           malformed("extended CONNECT without :path",
                     {{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "a"}}),
       })
    check(row);
}

Pairs extended(const std::string& protocol) {
  return {{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};
}

TEST_CASE("http2 requests: heads that are refused with an answer") {
  http::Limits small;
  small.max_head_bytes = 300;
  small.max_fields = 5;
  small.max_target_bytes = 100;
  const std::string many(150, 'x');
  const Pairs six{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}, {"f", "6"}};
  for (const auto& row : {
           answered("Host that is not :authority", request_head({{"host", "b.example"}}), "bad request", "400"),
           answered("Host with another port", request_head({{"host", "a.example:81"}}), "bad request", "400"),
           answered("user information", head_of("GET", "http", "me@a.example", "/"), "bad request", "400"),
           answered("empty port", head_of("GET", "http", "a.example:", "/"), "bad request", "400"),
           answered("fragment", head_of("GET", "http", "a.example", "/a#b"), "bad request", "400"),
           answered("path not of ASCII", head_of("GET", "http", "a.example", "/\xc3\xa4"), "bad request", "400"),
           answered("another scheme", head_of("GET", "ftp", "a.example", "/"), "bad request", "400"),
           answered("a path that another scheme allows", head_of("GET", "x", "a.example", "a"), "bad request", "400"),
           answered("CONNECT without a port", {{":method", "CONNECT"}, {":authority", "a.example"}}, "bad request",
                    "400"),
           answered("underscore", request_head({{"x_y", "z"}}), "bad request", "400"),
           answered("a tunnel of HTTP/2", extended("h2c"), "another fault", "501"),
           answered("a tunnel of TLS", extended("TLS/1.3"), "another fault", "501"),
           answered("a tunnel of HTTP", extended("http/1.1"), "another fault", "501"),
           answered("long :path", head_of("GET", "http", "a.example", "/" + many), "target too long", "414"),
           answered("many bytes", request_head({{"a", many}, {"b", many}}), "head too large", "431"),
           answered("many fields", request_head(six), "head too large", "431"),
       })
    check(row, small);
  // Five fit; and the stream's end is no condition: what is still to come is stopped.
  check(accepted("five fields", request_head({{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}}),
                 "GET http a.example / [a=1, b=2, c=3, d=4, e=5]"),
        small);
  check({"many fields, and a body",
         headers_frame(1, request_head(six), kEndHeaders) + data_frame(1, "body"),
         {"refused 1 head too large"},
         {"headers 1 431 end", "reset 1 NO_ERROR"}},
        small);
}

TEST_CASE("http2 requests: underscores as they are set") {
  http::Limits limits;
  const auto head = request_head({{"x_y", "z"}, {"a-b", "c"}});
  limits.underscores = Underscores::kAllow;
  check(accepted("allow", head, "GET http a.example / [x_y=z, a-b=c]"), limits);
  limits.underscores = Underscores::kDrop;
  check(accepted("drop", head, "GET http a.example / [a-b=c]"), limits);
}

TEST_CASE("http2 requests: bodies") {
  const auto post = [](const Pairs& more) { return request_frame(1, more, kEndHeaders); };
  const std::string plain = asked("GET http a.example / body []");
  const std::string five = asked("GET http a.example / length=5 body []");
  const std::string reset = "reset 1 bad request";
  const Lines ok{"headers 1 200 end"};
  const Lines error{"reset 1 PROTOCOL_ERROR"};
  for (const auto& row : {
           Row{"no length", post({}) + data_frame(1, "hello", kEndStream), {plain, "end 1"}, ok},
           Row{"length",
               post({{"content-length", "5"}}) + data_frame(1, "he") + data_frame(1, "llo", kEndStream),
               {five, "end 1"},
               ok},
           Row{"empty end",
               post({{"content-length", "5"}}) + data_frame(1, "hello") + data_frame(1, "", kEndStream),
               {five, "end 1"},
               ok},
           Row{"too short", post({{"content-length", "5"}}) + data_frame(1, "hell", kEndStream), {five, reset}, error},
           Row{"too long", post({{"content-length", "5"}}) + data_frame(1, "hello!", kEndStream), {five, reset}, error},
           Row{"too long, and goes on",
               post({{"content-length", "5"}}) + data_frame(1, "hello!") + data_frame(1, "x"),
               {five, reset},
               error},
           Row{"trailers", post({}) + data_frame(1, "x") + headers_frame(1, {{"a", "b"}}), {plain, "end 1 [a=b]"}, ok},
           Row{"too short before trailers",
               post({{"content-length", "5"}}) + data_frame(1, "x") + headers_frame(1, {{"a", "b"}}),
               {five, reset},
               error},
           Row{"trailers that do not end",
               post({}) + headers_frame(1, {{"a", "b"}}, kEndHeaders),
               {plain, reset},
               error},
           Row{"trailers with a pseudo-header", post({}) + headers_frame(1, {{":path", "/b"}}), {plain, reset}, error},
           Row{"trailers with connection", post({}) + headers_frame(1, {{"connection", "x"}}), {plain, reset}, error},
           Row{"trailers with a bad value", post({}) + headers_frame(1, {{"a", "b\r\n"}}), {plain, reset}, error},
           Row{"trailers with an underscore", post({}) + headers_frame(1, {{"a_b", "c"}}), {plain, reset}, error},
           Row{"trailers with Host", post({}) + headers_frame(1, {{"host", "b.example"}}), {plain, reset}, error},
           Row{"trailers with content-length",
               post({}) + headers_frame(1, {{"content-length", "0"}}),
               {plain, reset},
               error},
       })
    check(row);
}

TEST_CASE("http2 requests: errors of the connection") {
  const std::string failed = "failed bad request";
  const std::string one = asked("GET http a.example / []");
  const std::string open = asked("GET http a.example / body []");
  const Lines ok{"headers 1 200 end"};
  const auto over = [](const char* code) { return Lines{std::string("goaway ") + code}; };
  const std::string half = request_frame(1, {}, kEndHeaders);
  for (const auto& row : {
           Row{"DATA on stream 0", data_frame(0, "x"), {failed}, over("PROTOCOL_ERROR")},
           Row{"DATA on an idle stream", data_frame(3, "x"), {failed}, over("PROTOCOL_ERROR")},
           Row{"HEADERS on stream 0", request_frame(0), {failed}, over("PROTOCOL_ERROR")},
           Row{"HEADERS on an even stream", request_frame(2), {failed}, over("PROTOCOL_ERROR")},
           Row{"HEADERS that depend on themselves",
               frame(NGHTTP2_HEADERS, kEndHeaders | kEndStream | 0x20, 1,
                     big_endian(1, 4) + '\x10' + hpack(request_head())),
               {failed},
               over("PROTOCOL_ERROR")},
           Row{"PUSH_PROMISE",
               half + frame(NGHTTP2_PUSH_PROMISE, kEndHeaders, 1, big_endian(2, 4)),
               {open, failed},
               over("PROTOCOL_ERROR")},
           Row{"no SETTINGS first is taken for one that comes later", ping_frame(), {}, {"pong"}},
           Row{"WINDOW_UPDATE of nothing", window_frame(0, 0), {failed}, over("PROTOCOL_ERROR")},
           Row{"WINDOW_UPDATE of a stream of nothing",
               half + window_frame(1, 0),
               {open, failed},
               over("PROTOCOL_ERROR")},
           Row{"WINDOW_UPDATE beyond 2^31", window_frame(0, 0x7fffffff), {failed}, over("FLOW_CONTROL_ERROR")},
           Row{"WINDOW_UPDATE of a stream beyond 2^31",
               half + window_frame(1, 0x7fffffff),
               {open, "reset 1 bad request"},
               {"reset 1 FLOW_CONTROL_ERROR"}},
           Row{"SETTINGS on a stream", frame(NGHTTP2_SETTINGS, 0, 1), {failed}, over("PROTOCOL_ERROR")},
           Row{"SETTINGS of five bytes", settings_frame("12345"), {failed}, over("FRAME_SIZE_ERROR")},
           Row{"window of 2^31", settings_frame(setting(4, 0x80000000)), {failed}, over("FLOW_CONTROL_ERROR")},
           Row{"frame size of 1", settings_frame(setting(5, 1)), {failed}, over("PROTOCOL_ERROR")},
           Row{"PING of seven bytes", frame(NGHTTP2_PING, 0, 0, "1234567"), {failed}, over("FRAME_SIZE_ERROR")},
           Row{"CONTINUATION without HEADERS",
               frame(NGHTTP2_CONTINUATION, kEndHeaders, 1),
               {failed},
               over("PROTOCOL_ERROR")},
           Row{"something between HEADERS and CONTINUATION",
               frame(NGHTTP2_HEADERS, kEndStream, 1, hpack(request_head())) + ping_frame(),
               {failed},
               over("PROTOCOL_ERROR")},
           Row{"no HPACK",
               frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"),
               {failed},
               over("COMPRESSION_ERROR")},
           Row{"HPACK index that there is not",
               frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1, "\xff\x20"),
               {failed},
               over("COMPRESSION_ERROR")},
           Row{"padding beyond the frame",
               frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders | 8, 1,
                     "\x09"
                     "12345"),
               {failed},
               over("PROTOCOL_ERROR")},
           Row{"unknown frames are left alone", frame(0x42, 0xff, 7, "x") + request_frame(1), {one}, ok},
           Row{"padding",
               frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders | 8, 1, "\x02" + hpack(request_head()) + "xx"),
               {one},
               ok},
           Row{"PRIORITY counts for nothing",
               frame(NGHTTP2_PRIORITY, 0, 3, big_endian(1, 4) + "\x10") + request_frame(1),
               {one},
               ok},
           Row{"PING", ping_frame(), {}, {"pong"}},
       })
    check(row);
}

TEST_CASE("http2 requests: streams that are over") {
  for (const auto& row : {
           Row{"DATA after the end",
               request_frame(1) + data_frame(1, "x"),
               {asked("GET http a.example / []"), "failed bad request"},
               {"headers 1 200 end", "goaway STREAM_CLOSED"}},
           Row{"a number used again",
               request_frame(3) + request_frame(1),
               {"request 3 GET http a.example / []"},
               {"headers 3 200 end"}},
       }) {
    CAPTURE(row.name);
    Server server;  // not cut: whether the first stream is over depends on what was sent in between
    server.heard.when_whole = {};
    if (row.said.front() == "headers 3 200 end")
      server.heard.when_whole = [&](StreamId id) { server.codec->send_response(id, status(200)); };
    server.feed(begin() + row.frames);
    CHECK(server.heard.lines == row.heard);
    CHECK(server.said.lines.back() == row.said.back());
  }
}

TEST_CASE("http2 requests: what is no HTTP/2 at all") {
  for (const std::string bytes : {"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"}) {
    Server server;
    server.feed(bytes);
    CHECK(server.heard.lines == Lines{"failed bad request"});
    CHECK(server.codec->is_over());
    CHECK_FALSE(server.codec->wants_input());
    server.feed("more");
    CHECK(server.heard.lines.size() == 1);
  }
}

TEST_CASE("http2 requests: more streams than allowed are refused, and the others go on") {
  http::Limits limits;
  limits.max_streams = 2;
  Server server(limits);
  server.heard.when_whole = {};
  server.feed(begin() + request_frame(1) + request_frame(3) + request_frame(5));
  CHECK(server.heard.lines.size() == 2);
  CHECK(server.said.lines == Lines{"reset 5 REFUSED_STREAM"});
  CHECK(server.codec->open_streams() == 2);
  server.codec->send_response(1, status(200));
  server.feed("");
  server.feed(request_frame(7));
  CHECK(server.heard.lines.back() == "request 7 GET http a.example / []");
}
