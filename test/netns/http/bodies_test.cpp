// SPDX-License-Identifier: Apache-2.0
// Bodies that are large, slow or many, against nginx: every byte arrives, and the worker holds no more of them than its
// buffers.
#include <doctest/doctest.h>

#include <list>

#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"
#include "test/support/files.h"
#include "test/support/payload.h"

namespace underpass::test {
namespace {

constexpr std::size_t kLarge = 100U << 20;
// A block of 64 KiB and a codec's buffers on each side of each connection, and what an allocator keeps.
constexpr std::uint64_t kSomeKib = 4096;

// The most that the worker had while `body` ran.
template <typename Body>
std::uint64_t peak_growth_kib(const HttpGround& ground, Body body) {
  const auto before = ground.worker_rss_kib();
  write_existing("/proc/" + std::to_string(ground.scene.worker_pid()) + "/clear_refs", "5");  // VmHWM begins anew
  body();
  const std::string text = read_file("/proc/" + std::to_string(ground.scene.worker_pid()) + "/status");
  const auto peak = std::stoull(text.substr(text.find("VmHWM:") + 6));
  return peak > before ? peak - before : 0;
}

std::string checksum_of(const Place& client, const std::string& url, const std::string& options = "") {
  return run_client(client, {"sh", "-c", "curl -gsS --fail " + options + " '" + url + "' | sha256sum"});
}

TEST_CASE("http: 100 MB down and up, and a worker whose memory stays flat") {
  const HttpGround ground;
  std::string bytes(kLarge, '\0');
  Payload(3).fill(0, bytes);
  ground.play(kTwoWays, [&](const Way& way, const Place& client, const Place&) {
    const Nginx nginx(ground, way.server);
    write_file(nginx.files() / "large", bytes);
    const std::string right = run_ok({.argv = {"sh", "-c", "sha256sum < " + (nginx.files() / "large").string()}});
    const auto transfer = [&] {
      CHECK(checksum_of(client, nginx.url("/large")) == right);
      CHECK(checksum_of(client, nginx.url("/trailer/large")) == right);  // chunked
      for (const char* framing : {"Expect:", "Transfer-Encoding: chunked"}) {
        run_client(client, {"curl", "-gsS", "--fail", "-H", framing, "-T", nginx.files() / "large", "-o", "/dev/null",
                            nginx.url("/up/large")});
        CHECK(run_ok({.argv = {"cmp", nginx.files() / "large", nginx.files() / "up" / "large"}}).empty());
      }
    };
    if (!way.is_proxied) return transfer();
    const auto grown = peak_growth_kib(ground, transfer);
    MESSAGE("the worker grew by " << grown << " KiB");
    CHECK(grown < kSomeKib);
  });
}

// Several times what the kernel may keep for a socket whose reader was fast at first (tcp_rmem: 32 MiB are usual).
constexpr std::size_t kBody = 128U << 20;

TEST_CASE("http: a client that does not read stops the server, and misses nothing") {
  const HttpGround ground;
  ground.play(kTwoWays, [&](const Way& way, const Place& client, const Place& server) {
    std::atomic<std::size_t> sent = 0;
    ScriptServer script(server, [&](Wire& wire, const Message&) {
      wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kBody) + "\r\n\r\n");
      std::string block(65536, '\0');
      for (std::size_t at = 0; at < kBody; sent = at += block.size()) {
        Payload(5).fill(at, block);
        if (!wire.try_send(block)) return false;
      }
      return true;
    });
    const auto read_late = [&] {
      Wire wire(client, server, script.port());
      wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      (void)wire.read_head();
      // Stopped is who sends nothing more for a while.
      std::size_t last = 0;
      auto since = Clock::now();
      REQUIRE(eventually(seconds(20), [&] {
        if (std::exchange(last, sent.load()) != sent) since = Clock::now();
        return last > 0 && Clock::now() - since > milliseconds(400);
      }));
      CHECK(sent < kBody / 2);
      std::string right(1U << 20, '\0');
      for (std::size_t at = 0; at < kBody; at += right.size()) {
        Payload(5).fill(at, right);
        REQUIRE(wire.read(right.size()) == right);
      }
    };
    if (!way.is_proxied) return read_late();
    CHECK(peak_growth_kib(ground, read_late) < kSomeKib);
  });
}

TEST_CASE("http: a server that does not read stops the client, and misses nothing") {
  const HttpGround ground;
  ground.play(kTwoWays, [&](const Way& way, const Place& client, const Place& server) {
    std::atomic<bool> may_read = false;
    std::atomic<std::size_t> wrong = 0;
    ScriptServer script(server, [&](ScriptServer&, Wire& wire, std::size_t) {
      (void)wire.read_head();
      if (!eventually(seconds(30), [&] { return may_read.load(); })) return;
      std::string right(1U << 20, '\0');
      for (std::size_t at = 0; at < kBody; at += right.size()) {
        Payload(6).fill(at, right);
        if (wire.read(right.size()) != right) ++wrong;
      }
      wire.send(ok("taken"));
    });
    const auto write_all_of_it = [&] {
      Wire wire(client, server, script.port());
      wire.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(kBody) + "\r\n\r\n");
      set_nonblocking(wire.fd(), true);
      std::string block(65536, '\0');
      std::size_t sent = 0;
      const auto send_some = [&] {
        Payload(6).fill(sent, block);
        const auto size = std::min(block.size(), kBody - sent);
        const ssize_t more = ::send(wire.fd(), block.data(), size, MSG_NOSIGNAL);
        if (more > 0) sent += static_cast<std::size_t>(more);
        return more > 0;
      };
      auto since = Clock::now();
      REQUIRE(eventually(seconds(20), [&] {
        while (sent < kBody && send_some()) since = Clock::now();
        return Clock::now() - since > milliseconds(400);
      }));
      CHECK(sent < kBody / 2);
      may_read = true;
      REQUIRE(eventually(seconds(30), [&] {
        while (sent < kBody && send_some()) {
        }
        return sent == kBody;
      }));
      set_nonblocking(wire.fd(), false);
      CHECK(wire.read_answer().body == "taken");
      CHECK(wrong == 0);
    };
    if (!way.is_proxied) return write_all_of_it();
    CHECK(peak_growth_kib(ground, write_all_of_it) < kSomeKib);
  });
}

TEST_CASE("http: ranges, conditions, compression and what else nginx and curl agree on") {
  const HttpGround ground;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "line " + std::to_string(i) + "\n";
  std::string right;
  ground.play(kAllWays, [&](const Way& way, const Place& client, const Place&) {
    const Nginx nginx(ground, way.server);
    write_file(nginx.files() / "text", text);
    fs::last_write_time(nginx.files() / "text", fs::file_time_type{} + seconds(1000));  // and so the ETag
    const auto curl = [&](const std::string& more) {
      const std::string got =
          run_client(client, {"sh", "-c",
                              "curl -gsSi " + more +
                                  " | grep -aviE '^(date|last-modified|"
                                  "connection|keep-alive|x-request-id|traceparent|x-b3-[a-z]*|server|"
                                  "transfer-encoding|etag|via):' | tr A-Z a-z | sort | sha256sum"});
      return more + " " + got;
    };
    std::string found;
    for (const char* options : {"-r 10-19", "-r 0-0,-1", "-r 999999999-", "-I", "-H 'Accept-Encoding: gzip'"})
      found += curl(std::string(options) + " " + nginx.url("/text"));
    found += curl(nginx.url("/zip/nothing")) + curl(nginx.url("/none")) + curl("-X DELETE " + nginx.url("/up/nothing"));
    found += curl("-H 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT' " + nginx.url("/text"));
    // What is compressed arrives as it was compressed, whatever chunks it is in.
    found += run_client(client, {"sh", "-c",
                                 "curl -gsS -H 'Accept-Encoding: gzip' " + nginx.url("/zip/text") +
                                     " | tee /dev/stderr 2>/dev/null | zcat | sha256sum"});
    const auto here = found.find("10.77.0.");
    for (auto at = here; at != std::string::npos; at = found.find("10.77.0.", at)) found.erase(at, 9);
    if (right.empty()) right = found;
    CHECK(found == right);
  });
}

TEST_CASE("http: five hundred connections at once, and h2load and wrk lose none of their requests") {
  const HttpGround ground;
  ground.play(kTwoWays, [&](const Way& way, const Place& client, const Place& server) {
    const Nginx nginx(ground, way.server);
    std::list<Wire> wires;
    for (int i = 0; i < 500; ++i) wires.emplace_back(client, server, kNginxPort);
    for (int round = 0; round < 3; ++round) {
      for (Wire& wire : wires) wire.send("GET /text HTTP/1.1\r\nHost: x\r\n\r\n");
      for (Wire& wire : wires) CHECK(wire.read_answer().body == "from memory");
    }
    const std::string h2load =
        run_client(client, {"h2load", "--h1", "-n", "5000", "-c", "50", nginx.url("/text")}, seconds(60));
    CHECK_MESSAGE(h2load.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), h2load);
    const std::string wrk = run_client(client, {"wrk", "-t1", "-c50", "-d1s", nginx.url("/text")}, seconds(60));
    CHECK_MESSAGE(!wrk.contains("Socket errors"), wrk);
    CHECK_MESSAGE(!wrk.contains("Non-2xx"), wrk);
  });
}

TEST_CASE("http: nginx sees each upload once, 100-continue or not, and curl keeps its connection") {
  const HttpGround ground;
  ground.play(kAllWays, [&](const Way& way, const Place& client, const Place&) {
    const Nginx nginx(ground, way.server);
    const auto body = ground.scene.world.sandbox.root() / "body";
    write_file(body, std::string(2U << 20, 'b'));
    std::vector<std::string> argv{"curl", "-gsS", "--fail", "-w", "%{http_code} %{num_connects}\n"};
    for (const char* expect : {"Expect: 100-continue", "Expect:"})
      for (const char* framing : {"X-None: 1", "Transfer-Encoding: chunked"})
        argv.insert(argv.end(), {"-H", expect, "-H", framing, "-T", body, "-o", "/dev/null", nginx.url("/up/once"),
                                 "--next", "-gsS", "--fail", "-w", "%{http_code} %{num_connects}\n"});
    argv.insert(argv.end(), {"-o", "/dev/null", nginx.url("/text")});
    CHECK(run_client(client, argv) == "201 1\n204 0\n204 0\n204 0\n200 0\n");
    CHECK(eventually(seconds(5), [&] { return nginx.log().size() == 5; }));
    CHECK(fs::file_size(nginx.files() / "up" / "once") == 2U << 20);
  });
}

}  // namespace
}  // namespace underpass::test
