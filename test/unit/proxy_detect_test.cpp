// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include "userspace_proxy/session/detect.h"

namespace underpass::session {
namespace {

struct Row {
  std::string begin;
  Spoken now;
  Spoken late;
};

const Row kRows[] = {
    {"", Spoken::kUndecided, Spoken::kTcp},
    {"GET / HTTP/1.1\r\n", Spoken::kHttp1, Spoken::kHttp1},
    {"GET / HTTP/1.0\n", Spoken::kHttp1, Spoken::kHttp1},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Spoken::kHttp1, Spoken::kHttp1},
    {"CONNECT a:1 HTTP/1.1\r\n", Spoken::kHttp1, Spoken::kHttp1},
    {"M-SEARCH /a HTTP/1.1\r\n", Spoken::kHttp1, Spoken::kHttp1},
    {"G", Spoken::kUndecided, Spoken::kTcp},
    {"GET", Spoken::kUndecided, Spoken::kTcp},
    {"GET ", Spoken::kUndecided, Spoken::kTcp},
    {"GET /", Spoken::kUndecided, Spoken::kHttp1},
    {"GET /a HTTP/1.1", Spoken::kUndecided, Spoken::kHttp1},
    {"GET /a HTTP/1.1\r", Spoken::kUndecided, Spoken::kHttp1},
    {"GET /" + std::string(kDetectBytes, 'a'), Spoken::kHttp1, Spoken::kHttp1},
    {"GET /a\r\n", Spoken::kTcp, Spoken::kTcp},  // HTTP/0.9
    {"EHLO example.com\r\n", Spoken::kTcp, Spoken::kTcp},
    {"SET a 1\r\n", Spoken::kTcp, Spoken::kTcp},
    {"*1\r\n$4\r\nPING\r\n", Spoken::kTcp, Spoken::kTcp},
    {"get / HTTP/1.1\r\n", Spoken::kTcp, Spoken::kTcp},
    {std::string("\x16\x03\x01\x02\x00", 5), Spoken::kTcp, Spoken::kTcp},  // TLS
    {"SSH-2.0-OpenSSH_9.2\r\n", Spoken::kTcp, Spoken::kTcp},
    {std::string("\0\0\0\x08", 4), Spoken::kTcp, Spoken::kTcp},  // PostgreSQL
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Spoken::kHttp2, Spoken::kHttp2},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Spoken::kHttp2, Spoken::kHttp2},
    {"PRI * HTTP/2.0\r\n", Spoken::kUndecided, Spoken::kHttp1},
    {"P", Spoken::kUndecided, Spoken::kTcp},
    {"POST /a HTTP/1.1\r\n", Spoken::kHttp1, Spoken::kHttp1},
    {"PRI * HTTP/2.0\r\n\r\nXX", Spoken::kTcp, Spoken::kTcp},
};

TEST_CASE("detect: what a client speaks, by its first bytes") {
  for (const auto& row : kRows) {
    CAPTURE(row.begin);
    CHECK(detect(row.begin) == row.now);
    CHECK(detect_late(row.begin) == row.late);
  }
}

TEST_CASE("detect: what is decided stays decided, however the bytes come") {
  for (const auto& row : kRows) {
    auto decided = Spoken::kUndecided;
    for (std::size_t length = 0; length <= row.begin.size(); ++length) {
      const auto spoken = detect(row.begin.substr(0, length));
      CAPTURE(row.begin.substr(0, length));
      if (decided != Spoken::kUndecided) CHECK(spoken == decided);
      decided = spoken;
    }
  }
}

TEST_CASE("detect: where a port is HTTP's, only the version is asked for") {
  CHECK(detect_version("") == Spoken::kUndecided);
  CHECK(detect_version("PRI") == Spoken::kUndecided);
  CHECK(detect_version("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == Spoken::kHttp2);
  CHECK(detect_version("\x16\x03") == Spoken::kHttp1);
  CHECK(detect_version("PRX") == Spoken::kHttp1);
}

}  // namespace
}  // namespace underpass::session
