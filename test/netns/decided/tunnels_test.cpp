// SPDX-License-Identifier: Apache-2.0
// Policy changes under tunnels and requests that run: what is not allowed any more is cut at both ends, with a line
// that says so, and what still is goes on.
#include <doctest/doctest.h>

#include <atomic>
#include <boost/json.hpp>
#include <list>
#include <sstream>
#include <string>

#include "test/netns/decided/scene.h"
#include "test/netns/http/script_server.h"
#include "test/netns/http/wire.h"

namespace underpass::test {
namespace {

std::string deny_path(const std::string& path) {
  return policy_of("get",
                   R"({"selector": {"matchLabels": {"app": "b"}}, "action": "DENY", "rules": [{"to": [{"operation": )"
                   R"({"paths": [")" +
                       path + R"("]}}]}]})");
}

std::string deny_method(const std::string& method) {
  return policy_of("get",
                   R"({"selector": {"matchLabels": {"app": "b"}}, "action": "DENY", "rules": [{"to": [{"operation": )"
                   R"({"methods": [")" +
                       method + R"("]}}]}]})");
}

// Tunnels send back what they hear; other requests get a first chunk, and the last when the test says so.
ScriptServer::Play serve(const std::atomic<bool>& may_end) {
  return [&may_end](ScriptServer& self, Wire& wire, std::size_t) {
    const auto request = wire.read_request();
    if (!request) return;
    self.keep(*request);
    if (!request->has("upgrade") && request->method() != "CONNECT") {
      wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
      (void)eventually(seconds(30), [&] { return may_end.load(); });
      return wire.send("0\r\n\r\n");
    }
    wire.send(request->method() == "CONNECT"
                  ? "HTTP/1.1 200 OK\r\n\r\n"
                  : "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    for (;;) wire.send(wire.read(4));
  };
}

boost::json::object line_of(const Decided& scene, const std::string& path) {
  boost::json::object out;
  REQUIRE(eventually(seconds(10), [&] {
    std::istringstream lines(scene.agent.log());
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with('{') && line.contains("\"path\":" + path)) out = boost::json::parse(line).as_object();
    return !out.empty();
  }));
  return out;
}

void echo(Wire& wire) {
  wire.send("ping");
  CHECK(wire.read(4) == "ping");
}

void check_denied(const Decided& scene, const std::string& path, const std::string& code) {
  const auto line = line_of(scene, path);
  INFO(boost::json::serialize(line));
  CHECK(text_of(line.at("flags")) == "RBAC");
  CHECK(text_of(line.at("code")) == code);
  CHECK(text_of(line.at("policy")).contains("get"));
}

TEST_CASE("decided: tunnels and running requests that a new policy does not allow are cut, the others go on") {
  const Decided scene;
  std::atomic<bool> may_end = false;
  const ScriptServer server(scene.at("b"), serve(may_end));
  scene.put_policy(deny_path("/nothing"));
  REQUIRE(eventually(seconds(15), [&] {
    Wire wire(scene.at("out"), scene.at("b"), server.port());
    wire.send("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n");
    return wire.read_head().starts_with("HTTP/1.1 200");
  }));
  const std::size_t ended = server.complaints().size();
  const auto open = [&](const std::string& request) {
    Wire wire(scene.at("out"), scene.at("b"), server.port());
    wire.send(request);
    const std::string head = wire.read_head();
    CHECK((head.starts_with("HTTP/1.1 101") || head.starts_with("HTTP/1.1 200")));
    return wire;
  };
  const std::string upgrade = " HTTP/1.1\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
  Wire socket = open("GET /ws" + upgrade), other = open("GET /other-ws" + upgrade),
       connect = open("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"),
       slow = open("GET /slow HTTP/1.1\r\nHost: b\r\n\r\n"), kept = open("GET /kept HTTP/1.1\r\nHost: b\r\n\r\n");
  for (Wire* wire : {&socket, &other, &connect}) echo(*wire);

  scene.put_policy(deny_path("/ws"));
  CHECK(socket.was_reset());
  check_denied(scene, "\"/ws\"", "101");
  for (Wire* wire : {&other, &connect}) echo(*wire);

  scene.put_policy(deny_method("CONNECT"));
  CHECK(connect.was_reset());
  echo(other);

  scene.put_policy(deny_path("/slow"));
  CHECK_THROWS((void)slow.read(1000));
  check_denied(scene, "\"/slow\"", "200");
  echo(other);
  may_end = true;
  CHECK(kept.read(14) == "4\r\nhalf\r\n0\r\n\r\n");
  // The server's ends went with them.
  CHECK(eventually(seconds(10), [&] { return server.complaints().size() >= ended + 2; }));
}

}  // namespace
}  // namespace underpass::test
