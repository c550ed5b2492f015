// SPDX-License-Identifier: Apache-2.0
// Answers from bytes: HTTP cut at every place, what is no API server's answer, gzip and its bounds; and how long to
// wait after a failure.
#include <doctest/doctest.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "agent/k8s/api/backoff.h"
#include "agent/k8s/api/channel.h"
#include "agent/k8s/api/http_reader.h"
#include "agent/k8s/api/inflate.h"

namespace underpass::k8s {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// "200 text/plain: body" or what is wrong.
std::string read(std::string_view text, std::size_t step, bool closes) {
  HttpReader reader;
  for (std::size_t at = 0; at < text.size(); at += step) {
    if (const auto fed = reader.feed(text.substr(at, step)); !fed) return fed.error().message;
  }
  if (closes && !reader.done()) {
    if (const auto ended = reader.end(); !ended) return ended.error().message;
  }
  if (!reader.done()) return "more";
  return std::to_string(reader.head().status) + " " + reader.head().content_type +
         (reader.keep_alive() ? " kept: " : ": ") + reader.body();
}

TEST_CASE("http: answers, byte by byte and at once") {
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\n";
  const struct {
    std::string text;
    bool closes;
    std::string expected;
  } rows[] = {
      {ok + "Content-Length: 5\r\n\r\nhello", false, "200 application/json kept: hello"},
      {ok + "Content-Length: 5\r\nConnection: close\r\n\r\nhello", false, "200 application/json: hello"},
      {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", false,
       "200 application/json kept: hello"},
      {ok + "\r\nhello", true, "200 application/json: hello"},
      {ok + "Content-Length: 5\r\n\r\nhel", false, "more"},
      {ok + "Content-Length: 5\r\n\r\nhel", true, "the connection was closed in the middle of an answer"},
      {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", true,
       "the connection was closed in the middle of an answer"},
      {"", true, "the connection was closed in the middle of an answer"},
      {ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false, "not an HTTP answer: bad chunk"},
      {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", false, "not an HTTP answer: bad chunk"},
      {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, "answers HTTP/1.0: not an API server"},
      {ok + "Content-Encoding: br\r\nContent-Length: 0\r\n\r\n", false,
       "answers in an encoding that was not asked for"},
      {"SSH-2.0-OpenSSH\r\n\r\n", false, "not an HTTP answer: bad version"},
      {ok + "X: " + std::string(70'000, 'x') + "\r\n\r\n", false, "not an HTTP answer: header limit exceeded"},
      {ok + "Content-Length: -1\r\n\r\n", false, "not an HTTP answer: bad Content-Length"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text.substr(0, 200));
    for (const std::size_t step : {1, 7, 100'000}) CHECK(read(row.text, step, row.closes) == row.expected);
  }
}

TEST_CASE("http: what the head says") {
  HttpReader reader;
  REQUIRE(reader.feed(
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Encoding: gzip\r\nLocation: /x\r\n\r\n"));
  CHECK(reader.head().retry_after == seconds(7));
  CHECK(reader.head().gzip);
  CHECK(answer_problem(reader.head(), R"({"kind":"Status","message":"slow down"})") ==
        "429 Too Many Requests: slow down");
  HttpReader other;
  REQUIRE(other.feed("HTTP/1.1 503 Nope\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n"));
  CHECK_FALSE(other.head().retry_after);
  CHECK(answer_problem({.status = 302, .status_text = "Found", .content_type = {}, .location = "http://x/"},
                       "<html>") == "302 Found: redirects to \"http://x/\", which is not followed");
  CHECK(answer_problem({.status = 502, .status_text = "Bad Gateway", .content_type = "text/html"}, "<html>") ==
        "502 Bad Gateway: not an API server's answer (\"text/html\"): \"<html>\"");
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(::deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(text.size() + 1024, '\0');
  std::string in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

struct Unpacked {
  std::string text;
  std::string problem;
  std::size_t largest = 0;  // piece
  bool complete = false;
};

Unpacked unpack(const std::string& packed, std::size_t step, std::size_t most) {
  Inflater inflater;
  Unpacked out;
  for (std::size_t at = 0; at < packed.size(); at += step) {
    inflater.put(std::string_view(packed).substr(at, step));
    for (;;) {
      const auto made = inflater.read(out.text, most);
      if (!made) {
        out.problem = made.error().message;
        return out;
      }
      if (*made == 0) break;
      out.largest = std::max(out.largest, *made);
    }
  }
  out.complete = inflater.complete();
  return out;
}

TEST_CASE("gzip: piece by piece, and never more at once than asked for") {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i * 7919);
  const auto packed = gzip(text);
  for (const std::size_t step : {std::size_t{1}, std::size_t{1000}, packed.size()}) {
    const auto out = unpack(packed, step, 4096);
    CHECK(out.text == text);
    CHECK(out.complete);
    CHECK(out.largest <= 4096);
  }
  const auto bomb = unpack(gzip(std::string(4'000'000, 'a')), 1 << 20, 65536);
  CHECK(bomb.text.size() == 4'000'000);
  CHECK(bomb.largest == 65536);
}

TEST_CASE("gzip: cut short, broken, more behind it, none at all") {
  const auto packed = gzip("hello, hello, hello");
  CHECK_FALSE(unpack(packed.substr(0, packed.size() - 1), 3, 100).complete);
  auto broken = packed;
  broken[broken.size() - 5] = static_cast<char>(broken[broken.size() - 5] ^ 1);
  CHECK(unpack(broken, 100, 100).problem == "gzip: incorrect data check");
  CHECK(unpack(packed + "x", 100, 100).problem == "gzip: something comes after its end");
  CHECK(unpack("{\"kind\": \"PodList\"}", 100, 100).problem == "gzip: incorrect header check");
}

TEST_CASE("back-off: doubles, is jittered, ends at its limit, and starts anew") {
  double random = 0;
  Backoff backoff({}, [&] { return random; });
  std::vector<milliseconds::rep> steps;
  for (int i = 0; i < 10; ++i) steps.push_back(backoff.next().count());
  CHECK(steps == std::vector<milliseconds::rep>{100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000});
  random = 0.999;
  CHECK(backoff.next() > milliseconds(29'900));
  CHECK(backoff.next() <= milliseconds(30'000));
  backoff.reset();
  random = 0;
  CHECK(backoff.next() == milliseconds(100));
}

TEST_CASE("back-off: what the server asks for is waited for, within bounds") {
  Backoff backoff({}, [] { return 0.0; });
  CHECK(backoff.next(seconds(3)) == milliseconds(3000));
  CHECK(backoff.next(seconds(0)) == milliseconds(200));
  CHECK(backoff.next(seconds(100'000)) == milliseconds(120'000));
  CHECK(backoff.next(seconds(4'294'967'295)) == milliseconds(120'000));
}

}  // namespace
}  // namespace underpass::k8s
