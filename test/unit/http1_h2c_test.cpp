// SPDX-License-Identifier: Apache-2.0
// Which requests of HTTP/1.1 offer to go on in HTTP/2 (RFC 7540 §3.2), and which only look like it: the latter are
// requests like any other, and their bytes are read by nobody twice.
#include <doctest/doctest.h>

#include <string>

#include "test/support/http1_peers.h"

using namespace underpass;
using test::ServerPeer;

namespace {

const std::string kSwitched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
const std::string kNext = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";

std::string get(const std::string& fields, const std::string& line = "GET /x HTTP/1.1") {
  return line + "\r\nhost: a\r\n" + fields + "\r\n";
}

}  // namespace

TEST_CASE("http1 h2c: what offers it") {
  const std::string settings = "HTTP2-Settings: AAMAAABk\r\n";
  const std::string told = "GET http://a/x to HTTP/2 AAMAAABk\n";
  const std::pair<std::string, std::string> rows[] = {
      {get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" + settings), told},
      {get("connection: http2-settings\r\nconnection: close-not,upgrade\r\nupgrade: H2C\r\n" + settings), told},
      {get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\ncontent-length: 0\r\n" + settings,
           "PUT /x HTTP/1.1"),
       "PUT http://a/x [0] to HTTP/2 AAMAAABk\n"},
      {get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings:\r\nX-A: 1\r\n"),
       "GET http://a/x x-a=1 to HTTP/2 \n"},
  };
  for (const auto& [bytes, wanted] : rows) {
    CAPTURE(bytes);
    ServerPeer peer(ServerPeer::answer_ok);
    peer.takes_http2 = true;
    peer.feeder().feed(bytes + kNext);
    CHECK(peer.log() == wanted);
    CHECK(peer.feeder().said() == kSwitched);
    CHECK(peer.feeder().held() == kNext);  // for whoever comes next to read
    CHECK_FALSE(peer.codec().wants_input());
    CHECK_FALSE(peer.codec().is_over());

    ServerPeer other(ServerPeer::answer_ok);  // whose session does not take it
    other.feeder().feed(bytes + kNext);
    CHECK(other.told().size() == 2);
    CHECK_FALSE(other.feeder().said().contains("101"));
  }
}

TEST_CASE("http1 h2c: what does not") {
  const std::string connection = "Connection: Upgrade, HTTP2-Settings\r\n", upgrade = "Upgrade: h2c\r\n",
                    settings = "HTTP2-Settings: AAMAAABk\r\n";
  struct Row {
    const char* name;
    std::string bytes;
    bool is_last = false;  // the connection does not go on behind it
  };
  const Row rows[] = {
      {"no Upgrade", get(connection + settings)},
      {"no settings", get(connection + upgrade)},
      {"no Connection", get(upgrade + settings)},
      {"Connection names only Upgrade", get("Connection: Upgrade\r\n" + upgrade + settings)},
      {"Connection names only the settings", get("Connection: HTTP2-Settings\r\n" + upgrade + settings)},
      {"settings twice", get(connection + upgrade + settings + settings)},
      {"Upgrade twice", get(connection + upgrade + upgrade + settings)},
      {"h2c twice", get(connection + "Upgrade: h2c, h2c\r\n" + settings)},
      {"with TLS", get(connection + "Upgrade: h2c, TLS/1.2\r\n" + settings)},
      {"h2 over TLS", get(connection + "Upgrade: h2\r\n" + settings)},
      {"another name", get(connection + "Upgrade: h2c/1\r\n" + settings)},
      {"quoted", get(connection + "Upgrade: \"h2c\"\r\n" + settings)},
      {"a body", get(connection + upgrade + settings + "content-length: 1\r\n", "POST /x HTTP/1.1") + "x"},
      {"a chunked body",
       get(connection + upgrade + settings + "transfer-encoding: chunked\r\n", "POST /x HTTP/1.1") + "0\r\n\r\n"},
      {"HTTP/1.0", get(connection + upgrade + settings + "connection: keep-alive\r\n", "GET /x HTTP/1.0")},
      {"close", get("Connection: Upgrade, HTTP2-Settings, close\r\n" + upgrade + settings), true},
  };
  for (const auto& row : rows) {
    CAPTURE(std::string(row.name));
    ServerPeer peer(ServerPeer::answer_ok);
    peer.takes_http2 = true;
    peer.feeder().feed(row.bytes + kNext);
    REQUIRE(peer.told().size() == (row.is_last ? 1 : 2));
    CHECK(peer.told()[0].request.path == "/x");
    CHECK_FALSE(peer.told()[0].request.is_tunnel());
    for (const char* name : {"upgrade", "http2-settings", "connection"})
      CHECK_FALSE(peer.told()[0].request.fields.find(name));
    CHECK_FALSE(peer.feeder().said().contains("101"));
  }
}

TEST_CASE("http1 h2c: beside a WebSocket the WebSocket is asked for") {
  for (const char* both : {"h2c, websocket", "websocket, h2c"}) {
    ServerPeer peer(nullptr);
    peer.takes_http2 = true;
    peer.feeder().feed(get(
        "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: " + std::string(both) + "\r\n"));
    REQUIRE(peer.told().size() == 1);
    CHECK(peer.told()[0].request.protocol == "websocket");
  }
  ServerPeer connect(nullptr);
  connect.takes_http2 = true;
  connect.feeder().feed(
      "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
      "http2-settings: AAMAAABk\r\n\r\n");
  REQUIRE(connect.told().size() == 1);
  CHECK(connect.told()[0].request.is_connect());
}

TEST_CASE("http1 h2c: not where the connection is to end, nor before earlier answers are out") {
  ServerPeer leaving(ServerPeer::answer_ok);
  leaving.takes_http2 = true;
  const std::string offer = get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n");
  leaving.feeder().feed(offer.substr(0, 10));
  leaving.codec().shut_down();
  leaving.feeder().feed(offer.substr(10));
  CHECK(leaving.told().size() == 1);

  ServerPeer busy(nullptr);
  busy.takes_http2 = true;
  busy.feeder().feed(kNext + offer);
  CHECK(busy.feeder().held() == offer);
  ServerPeer::answer_ok(busy, 1);
  busy.feeder().go_on();
  CHECK(busy.feeder().said().ends_with("ok" + kSwitched));
}
