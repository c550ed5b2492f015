// SPDX-License-Identifier: Apache-2.0
// What a traffic thread makes of "Upgrade: h2c" and of WebSockets whose server speaks HTTP/2.
#include <doctest/doctest.h>

#include <string>

#include "test/unit/proxy_http_stage.h"

namespace underpass::test {
namespace {

using telemetry::RequestFlag;

const std::string kSwitched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
const std::string kPreface = std::string(http2::kPreface) + std::string("\0\0\0\4\0\0\0\0\0", 9);  // and SETTINGS

void say(const UniqueFd& client, const std::string& bytes) {
  require(::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == ssize(bytes), "send");
}

std::string offer(const std::string& path, const std::string& settings = "AAMAAABk") {
  return "GET " + path +
         " HTTP/1.1\r\nhost: shop\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: " +
         settings + "\r\n\r\n";
}

// HEADERS of stream 1 that say 200, END_STREAM, and perhaps content-length.
bool says_200(const std::string& heard, std::uint8_t stream) {
  const std::string head = std::string("\x01\x05\0\0\0", 5) + static_cast<char>(stream) + '\x88';
  return heard.contains(head);
}

std::string hear(HttpStage& stage, const UniqueFd& client, const std::function<bool(const std::string&)>& enough,
                 const std::function<void()>& turn = {}) {
  std::string heard;
  CHECK_MESSAGE(stage.turn_until([&] { return enough(heard += HttpStage::heard(client)); }, turn), heard);
  return heard;
}

TEST_CASE("http upgrade: h2c is taken, the request is stream 1, and more come in HTTP/2") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  const auto client = stage.connect(server.port());
  say(client, offer("/one"));
  (void)hear(stage, client, [&](const auto& all) { return all.starts_with(kSwitched); });
  say(client, kPreface);
  REQUIRE(stage.turn_until([&] { return server.asked.contains("/one"); }, [&] { server.turn(); }));
  server.answer("/one");
  (void)hear(stage, client, [](const auto& all) { return says_200(all, 1); }, [&] { server.turn(); });
  REQUIRE(stage.ended.size() == 1);
  CHECK(stage.ended[0].path == "/one");
  CHECK(stage.ended[0].status == 200);
  CHECK(stage.ended[0].flag == RequestFlag::kNone);
  // GET http /two, :authority x, by HPACK's static table.
  const std::string head("\x82\x86\x44\x04/two\x41\x01x", 11);
  say(client, std::string("\0\0\x0b\x01\x05\0\0\0\x03", 9) + head);
  REQUIRE(stage.turn_until([&] { return server.asked.contains("/two"); }, [&] { server.turn(); }));
  server.answer("/two");
  (void)hear(stage, client, [](const auto& all) { return says_200(all, 3); }, [&] { server.turn(); });
  CHECK(stage.ended.size() == 2);
}

TEST_CASE("http upgrade: settings that are none are as if there was no offer") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  // Not base64url, padded, cut off, a window that there cannot be.
  for (const std::string settings : {"!", "AAMAAABk====", "AAMAAAB", "AAT_____"}) {
    CAPTURE(settings);
    const auto client = stage.connect(server.port());
    say(client, offer("/" + std::to_string(stage.ended.size()), settings));
    const std::string path = "/" + std::to_string(stage.ended.size());
    REQUIRE(stage.turn_until([&] { return server.asked.contains(path); }, [&] { server.turn(); }));
    server.answer(path);
    CHECK(hear(
              stage, client, [](const auto& all) { return all.ends_with("\r\n\r\n"); }, [&] { server.turn(); })
              .starts_with("HTTP/1.1 200"));
  }
}

TEST_CASE("http upgrade: what follows the offer is no HTTP/1.1 any more") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  const auto client = stage.connect(server.port());
  say(client, offer("/first") + "GET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n");
  (void)hear(stage, client, [](const auto& all) { return all.ends_with("(end)"); }, [&] { server.turn(); });
  CHECK_FALSE(server.asked.contains("/smuggled"));
  REQUIRE(stage.ended.size() == 1);
  CHECK(stage.ended[0].path == "/first");
}

TEST_CASE("http upgrade: a client that goes with its offer is told of once") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  {
    const auto client = stage.connect(server.port());
    say(client, offer("/gone"));
  }
  REQUIRE(stage.turn_until([&] { return !stage.closed.empty(); }, [&] { server.turn(); }));
  REQUIRE(stage.ended.size() == 1);
  CHECK(stage.ended[0].flag == RequestFlag::kDownstreamGone);
}

TEST_CASE("http upgrade: a worker that is to leave answers in HTTP/1.1") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  const auto client = stage.connect(server.port());
  say(client, offer("/late").substr(0, 20));
  (void)stage.turn_until([&] { return stage.traffic.next_deadline() > net::Clock::now(); });
  stage.traffic.drain(net::Clock::now() + seconds(60));
  say(client, offer("/late").substr(20));
  REQUIRE(stage.turn_until([&] { return server.asked.contains("/late"); }, [&] { server.turn(); }));
  server.answer("/late");
  CHECK(hear(
            stage, client, [](const auto& all) { return all.contains("\r\n\r\n"); }, [&] { server.turn(); })
            .starts_with("HTTP/1.1 200"));
}

}  // namespace
}  // namespace underpass::test
