// SPDX-License-Identifier: Apache-2.0
// What a worker between two applications must not change: who speaks first, half-closed connections, resets, a slow
// reader's back pressure.
#include <doctest/doctest.h>
#include <netinet/tcp.h>

#include <regex>

#include "test/netns/proxy/lines.h"
#include "test/support/files.h"
#include "test/support/process.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

struct Ends {
  const char* client;
  const char* server;
};
constexpr Ends kEnds[] = {{"a", "b"}, {"a", "out"}, {"out", "b"}};

template <typename Check>
void for_all_pairs(const Scene& scene, Check check) {
  for (const Ends& ends : kEnds) {
    for (const int family : kFamilies) {
      CAPTURE(ends.client);
      CAPTURE(ends.server);
      CAPTURE(family);
      check(make_pair_between(scene.at(ends.client), scene.at(ends.server), family));
    }
  }
}

// errno of a recv() that comes before the deadline; 0: bytes, or the end of the stream.
int read_error(int fd) {
  char byte = 0;
  if (!readable(fd, seconds(10))) return ETIMEDOUT;
  return ::recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}

bool at_end(int fd) {
  char byte = 0;
  return readable(fd, seconds(10)) && ::recv(fd, &byte, 1, 0) == 0;
}

void reset(UniqueFd& fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  fd.reset();
}

std::uint64_t rss_kib(pid_t pid) {
  const std::string text = read_file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  return std::stoull(text.substr(text.find("Rss:") + 4));
}

TEST_CASE("proxy: a server that speaks first is heard, while its client says nothing") {
  const Scene scene;
  for_all_pairs(scene, [](const Pair& pair) {
    send_all(pair.server.get(), "220 ready\r\n");
    CHECK(receive_exactly(pair.client.get(), 11, seconds(2)) == "220 ready\r\n");
  });
}

TEST_CASE("proxy: each direction ends by itself") {
  for (const char* mode : {"off", "on"}) {
    const Scene scene(mode);
    for_all_pairs(scene, [](const Pair& pair) {
      for (const auto& [first, second] :
           {std::pair{pair.client.get(), pair.server.get()}, std::pair{pair.server.get(), pair.client.get()}}) {
        // The second time round, the first direction is the one that is left.
        const bool shut_before = first == pair.server.get();
        if (!shut_before) send_all(first, "last words");
        if (!shut_before) CHECK(receive_exactly(second, 10) == "last words");
        if (shut_before) send_all(first, "answer");
        if (shut_before) CHECK(receive_exactly(second, 6) == "answer");
        REQUIRE(::shutdown(first, SHUT_WR) == 0);
        CHECK(at_end(second));
      }
    });
    for (const auto& line : wait_lines(scene, std::size(kEnds) * 2)) {
      CHECK(field_of(line, "flags") == "-");
      CHECK(field_of(line, "bytesSent") == "10");
      CHECK(field_of(line, "bytesReceived") == "6");
    }
  }
}

TEST_CASE("proxy: the server may be the first to end") {
  const Scene scene;
  for_all_pairs(scene, [](const Pair& pair) {
    REQUIRE(::shutdown(pair.server.get(), SHUT_WR) == 0);
    CHECK(at_end(pair.client.get()));
    send_all(pair.client.get(), "still here");
    CHECK(receive_exactly(pair.server.get(), 10) == "still here");
  });
}

TEST_CASE("proxy: single bytes, as they are written") {
  const Scene scene;
  for_all_pairs(scene, [](const Pair& pair) {
    for (const auto& [from, to] :
         {std::pair{pair.client.get(), pair.server.get()}, std::pair{pair.server.get(), pair.client.get()}}) {
      set_option(from, IPPROTO_TCP, TCP_NODELAY, 1);
      std::string all;
      for (int i = 0; i < 1000; ++i) {
        all.push_back(static_cast<char>('a' + i % 26));
        send_all(from, all.substr(all.size() - 1));
      }
      CHECK(receive_exactly(to, all.size()) == all);
    }
  });
}

TEST_CASE("proxy: a reset is a reset at the other end") {
  for (const char* mode : {"off", "on"}) {
    const Scene scene(mode);
    std::size_t connections = 0;
    for (const bool of_client : {true, false}) {
      CAPTURE(of_client);
      for_all_pairs(scene, [&](Pair pair) {
        send_all(pair.client.get(), "ping");
        CHECK(receive_exactly(pair.server.get(), 4) == "ping");
        reset(of_client ? pair.client : pair.server);
        CHECK(read_error((of_client ? pair.server : pair.client).get()) == ECONNRESET);
        const auto lines = wait_lines(scene, ++connections);
        CHECK(field_of(lines.back(), "flags") == (of_client ? "DC" : "UC"));
      });
    }
  }
}

// Those of the pod whose end is asked after within a minute of silence.
std::size_t kept_alive(const Place& pod) {
  const std::string table = run_ok({.argv = {"ss", "-tnoH", "state", "established"}, .netns = pod.netns});
  static const std::regex timer(R"(timer:\(keepalive,(\d+sec|1min),0\))");
  return static_cast<std::size_t>(
      std::distance(std::sregex_iterator(table.begin(), table.end(), timer), std::sregex_iterator()));
}

TEST_CASE("proxy: a worker asks after those that are silent, and the applications do as they like") {
  const Scene scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    // What it accepted in its pod, and what it dialled there.
    const Pair leaving = make_pair_between(scene.at("a"), scene.at("out"), family);
    CHECK(kept_alive(scene.at("a")) == 2);
    const Pair coming = make_pair_between(scene.at("out"), scene.at("b"), family);
    CHECK(kept_alive(scene.at("b")) == 2);
  }
}

TEST_CASE("proxy: what nobody listens at is reset") {
  const Scene scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    for (const char* server : {"b", "out"}) {
      CAPTURE(server);
      const Address gone = local_address(listen_at(scene.at(server), family).get());
      // connect() is done with the worker; only then can it find out.
      const UniqueFd client = connect_from(scene.at("a"), gone);
      CHECK(read_error(client.get()) == ECONNRESET);
    }
  }
  for (const auto& line : wait_lines(scene, 4)) {
    CHECK(field_of(line, "flags") == "UF");
    CHECK(field_of(line, "details").find("refused") != std::string::npos);
  }
}

TEST_CASE("proxy: a reader that is slow slows the writer, not the worker's memory") {
  const Scene scene;
  const std::uint64_t before = rss_kib(scene.worker_pid());
  for (const Ends& ends : kEnds) {
    CAPTURE(ends.client);
    std::vector<Pair> pairs;
    std::vector<std::uint64_t> sent(16);
    for (std::size_t i = 0; i < sent.size(); ++i) {
      pairs.push_back(make_pair_between(scene.at(ends.client), scene.at(ends.server), AF_INET));
      set_nonblocking(pairs.back().client.get(), true);
    }
    const std::string block(256u << 10, 'x');
    // Full when none of them takes anything for a while.
    auto last = Clock::now();
    REQUIRE(eventually(seconds(30), [&] {
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        ssize_t more = 0;
        while ((more = ::send(pairs[i].client.get(), block.data(), block.size(), MSG_NOSIGNAL)) > 0) {
          sent[i] += static_cast<std::uint64_t>(more);
          last = Clock::now();
        }
      }
      return Clock::now() - last > milliseconds(500);
    }));
    // A block of 64 KiB each way is a worker's part; the rest of it is the sockets'.
    CHECK(rss_kib(scene.worker_pid()) - before < pairs.size() * 2 * 64 + 1024);
    std::vector<char> buffer(1u << 20);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      REQUIRE(::shutdown(pairs[i].client.get(), SHUT_WR) == 0);
      std::uint64_t got = 0;
      for (ssize_t more = 1; more > 0; got += static_cast<std::uint64_t>(more > 0 ? more : 0)) {
        REQUIRE(readable(pairs[i].server.get(), seconds(10)));
        more = ::recv(pairs[i].server.get(), buffer.data(), buffer.size(), 0);
        REQUIRE(more >= 0);
      }
      CHECK(got == sent[i]);
    }
  }
}

TEST_CASE("proxy: a connection without a byte ends after idleTimeout, and no other") {
  const Scene scene("off", {}, "{proxy: {idleTimeout: 2s}}");
  const Pair busy = make_pair_between(scene.at("a"), scene.at("b"), AF_INET);
  const Pair idle = make_pair_between(scene.at("a"), scene.at("b"), AF_INET);
  send_all(idle.client.get(), "ping");
  CHECK(receive_exactly(idle.server.get(), 4) == "ping");
  // The first to be readable without a byte having been sent is the one that has ended.
  REQUIRE(eventually(seconds(10), [&] {
    send_all(busy.client.get(), "ping");
    return receive_exactly(busy.server.get(), 4) == "ping" && readable(idle.client.get(), milliseconds(0));
  }));
  CHECK(read_error(idle.client.get()) == ECONNRESET);
  CHECK(read_error(idle.server.get()) == ECONNRESET);
  const auto lines = wait_lines(scene, 1);
  REQUIRE(lines.size() == 1);
  CHECK(field_of(lines[0], "flags") == "SI");
}

}  // namespace
}  // namespace underpass::test
