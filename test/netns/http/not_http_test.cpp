// SPDX-License-Identifier: Apache-2.0
// What speaks something else through the same pods goes on as TCP, byte by byte, and nobody waits for longer than it
// takes to see that.
#include <doctest/doctest.h>
#include <netinet/tcp.h>

#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

// How long a client that says nothing is waited for: detection_timeout, and a busy machine.
constexpr milliseconds kDetection{100};
constexpr milliseconds kSlack{900};

TEST_CASE("http: a server that speaks first is heard once its client has said nothing for a moment") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way& way, const Place& client, const Place& server) {
    ScriptServer script(server, [](ScriptServer&, Wire& wire, std::size_t) {
      wire.send("220 mail.example ESMTP\r\n");
      CHECK(wire.read(6) == "EHLO x");
      wire.send("250 fine\r\n");
      CHECK(wire.ended());
    });
    const auto began = Clock::now();
    Wire wire(client, server, script.port());
    CHECK(wire.read(24) == "220 mail.example ESMTP\r\n");
    const auto took = Clock::now() - began;
    CHECK(took < kDetection + kSlack);
    if (way.is_proxied) CHECK(took > kDetection / 2);
    wire.send("EHLO x");
    CHECK(wire.read(10) == "250 fine\r\n");
    wire.shut_write();
    CHECK(wire.ended());
    CHECK(script.complaints().empty());
  });
}

TEST_CASE("http: first bytes that no request begins with are handed on at once") {
  const HttpGround ground;
  const std::string first[] = {"\x16\x03\x01\x02\x00\x01",   std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8),
                               "*1\r\n$4\r\nPING\r\n",       "SSH-2.0-x\r\n",
                               "USER anonymous\r\n",         "hello",
                               "GET \x01/ HTTP/1.1\r\n\r\n", "GET / SIP/2.0\r\n\r\n",
                               "get / http/1.1\r\n\r\n",     "\r\nGET / HTTP/1.1\r\n\r\n"};
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    for (const std::string& bytes : first) {
      CAPTURE(bytes);
      ScriptServer script(server, [&](ScriptServer&, Wire& wire, std::size_t) { wire.send(wire.read(bytes.size())); });
      Wire wire(client, server, script.port());
      const auto began = Clock::now();
      wire.send(bytes);
      CHECK(wire.read(bytes.size()) == bytes);
      CHECK(Clock::now() - began < kSlack);
      CHECK(wire.ended());
    }
  });
}

// Until the time-out nobody can tell them from a request; what they are then is TCP, from their first byte on.
TEST_CASE("http: bytes that might become a request, and do not, arrive whole") {
  const HttpGround ground;
  ground.play(kTwoWays, [&](const Way&, const Place& client, const Place& server) {
    for (const std::string begin : {"G", "PING", "STATUS", "PRI"}) {
      CAPTURE(begin);
      ScriptServer script(server,
                          [&](ScriptServer&, Wire& wire, std::size_t) { wire.send(wire.read(begin.size() + 1)); });
      Wire wire(client, server, script.port());
      set_option(wire.fd(), IPPROTO_TCP, TCP_NODELAY, 1);
      wire.send(begin);
      wire.send("\n");
      CHECK(wire.read(begin.size() + 1) == begin + "\n");
    }
    // Nothing follows at all.
    ScriptServer script(server, [&](ScriptServer&, Wire& wire, std::size_t) { wire.send(wire.read(4)); });
    Wire wire(client, server, script.port());
    const auto began = Clock::now();
    wire.send("QUIT");
    CHECK(wire.read(4) == "QUIT");
    CHECK(Clock::now() - began < kDetection + kSlack);
  });
}

TEST_CASE("http: a connection that ends without a byte ends at the server too") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way&, const Place& client, const Place& server) {
    ScriptServer script(server, [&](ScriptServer&, Wire& wire, std::size_t) {
      CHECK(wire.ended());
      wire.send("bye");
    });
    Wire wire(client, server, script.port());
    wire.shut_write();
    CHECK(wire.read(3) == "bye");
    CHECK(wire.ended());
  });
}

TEST_CASE("http: TLS is not looked into") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way& way, const Place& client, const Place& server) {
    const fs::path folder = ground.scene.world.sandbox.root() / way.server;
    fs::create_directories(folder);
    run_ok({.argv = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", "/CN=shop", "-days", "1", "-keyout", folder / "key", "-out", folder / "cert"}});
    const Process process = start_server(server,
                                         {"openssl", "s_server", "-quiet", "-accept", server.v4 + ":8443", "-key",
                                          folder / "key", "-cert", folder / "cert", "-www"},
                                         8443);
    for (int i = 0; i < 3; ++i)
      CHECK(run_client(client, {"curl", "-gsSk", "--fail", "https://" + server.v4 + ":8443/"}).contains("TLSv1.3"));
  });
}

TEST_CASE("http: redis beside HTTP, pipelined") {
  const HttpGround ground;
  ground.play(kTwoWays, [&](const Way&, const Place& client, const Place& server) {
    const Process redis = start_server(server,
                                       {"redis-server", "--bind", server.v4, "--port", "6379", "--save", "", "--dir",
                                        ground.scene.world.sandbox.root(), "--protected-mode", "no"},
                                       6379);
    // An inline command begins as a request does.
    CHECK(run_client(client, {"sh", "-c", "printf 'PING\\r\\nQUIT\\r\\n' | curl -gsS telnet://" + server.v4 + ":6379"})
              .starts_with("+PONG"));
    const std::string got = run_client(
        client, {"redis-benchmark", "-h", server.v4, "-t", "set,get", "-n", "2000", "-c", "8", "-P", "8", "-q"});
    CHECK_MESSAGE((got.contains("GET: ") && !got.contains("rror")), got);
  });
}

}  // namespace
}  // namespace underpass::test
