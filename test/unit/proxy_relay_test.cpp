// SPDX-License-Identifier: Apache-2.0
// What a connection through the worker looks like to both ends: as one without it, ends and errors included.
#include <doctest/doctest.h>

#include <array>
#include <ctime>
#include <future>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "test/unit/proxy_world.h"

using namespace underpass;
using test::accept_one;
using test::end_of;
using test::kLong;
using test::ProxyWorld;
using test::receive_exactly;
using test::send_text;
using test::shut;

namespace {

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (auto& byte : text) byte = static_cast<char>(random());
  return text;
}

// How a time of today begins in RFC 3339.
std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm broken_down{};
  ::gmtime_r(&now, &broken_down);
  std::array<char, 16> text{};
  (void)std::strftime(text.data(), text.size(), "%Y-%m-%dT", &broken_down);
  return text.data();
}

// A world, and a server that its connections are led to.
struct Scene : ProxyWorld {
  explicit Scene(Options options = {}, bool small_buffer = false)
      : ProxyWorld(options), server(test::listen_on_loopback(small_buffer)) {
    peers.lead_to(test::place_of(server.get()));
  }
  UniqueFd server;
};

}  // namespace

TEST_CASE("proxy relay: bytes arrive as they were, in both directions at once") {
  Scene scene;
  const auto day_before = today();
  const auto client = scene.connect();
  const auto server = accept_one(scene.server);
  CHECK(scene.peers.announced == 1);
  const std::string there = noise(9'000'000, 1);
  const std::string back = noise(7'000'001, 2);
  std::jthread sends_there([&] { send_text(client, there); });
  std::jthread sends_back([&] { send_text(server, back); });
  auto got_back = std::async(std::launch::async, [&] { return receive_exactly(client, back.size()); });
  CHECK(receive_exactly(server, there.size()) == there);
  CHECK(got_back.get() == back);
  shut(client);
  CHECK(end_of(server) == 0);
  shut(server);
  CHECK(end_of(client) == 0);

  const auto line = scene.next_line();
  const std::string start(line.at("start").as_string());
  CHECK((start.starts_with(day_before) || start.starts_with(today())));
  CHECK(line.at("flags").as_string() == "-");
  CHECK(line.at("details").is_null());
  CHECK(line.at("bytesSent").to_number<std::uint64_t>() == there.size());
  CHECK(line.at("bytesReceived").to_number<std::uint64_t>() == back.size());
  CHECK(line.at("direction").as_string() == "inbound");
  CHECK(line.at("source").at("ip").as_string() == "10.0.0.9");
  CHECK(line.at("source").at("port").to_number<int>() == 5555);
  CHECK(line.at("source").at("namespace").as_string() == "shop");
  CHECK(line.at("source").at("pod").as_string() == "web-0");
  CHECK(line.at("source").at("identity").as_string() == "spiffe://td/ns/shop/sa/web");
  CHECK(line.at("destination").at("ip").as_string() == "127.0.0.1");
  CHECK(line.at("destination").at("identity").as_string() == "spiffe://td/ns/shop/sa/db");
  CHECK(line.at("destination").at("pod").is_null());
  CHECK(line.at("service").is_null());
  CHECK(line.at("dialled").is_null());
  CHECK(line.at("way").as_string() == "proxied");
}

TEST_CASE("proxy relay: a server that speaks first is heard") {
  Scene scene;
  const auto client = scene.connect();
  const auto server = accept_one(scene.server);
  send_text(server, "220 hello");
  CHECK(receive_exactly(client, 9) == "220 hello");
}

TEST_CASE("proxy relay: each direction ends by itself") {
  Scene scene;
  for (const bool client_first : {true, false}) {
    CAPTURE(client_first);
    const auto client = scene.connect();
    const auto server = accept_one(scene.server);
    const auto& first = client_first ? client : server;
    const auto& second = client_first ? server : client;
    send_text(first, "request");
    shut(first);
    CHECK(receive_exactly(second, 7) == "request");
    CHECK(end_of(second) == 0);
    const std::string answer = noise(300'000, 3);
    std::jthread sends([&] { send_text(second, answer); });
    CHECK(receive_exactly(first, answer.size()) == answer);
    sends.join();
    shut(second);
    CHECK(end_of(first) == 0);
    CHECK(scene.next_flags() == "-");
  }
}

TEST_CASE("proxy relay: a reset is handed on, and told") {
  Scene scene;
  for (const bool by_client : {true, false}) {
    CAPTURE(by_client);
    auto client = scene.connect();
    auto server = accept_one(scene.server);
    send_text(client, "x");
    receive_exactly(server, 1);
    test::reset(by_client ? client : server);
    CHECK(end_of(by_client ? server : client) == ECONNRESET);
    const auto line = scene.next_line();
    CHECK(line.at("flags").as_string() == (by_client ? "DC" : "UC"));
    CHECK(line.at("details").as_string() ==
          (by_client ? "client: Connection reset by peer" : "upstream: Connection reset by peer"));
  }
}

TEST_CASE("proxy relay: a reset is noticed although nothing may be read, the other end being full") {
  Scene scene({}, true);
  auto client = scene.connect();
  const auto server = accept_one(scene.server);
  const int fd = client.get();
  // Until nobody on the way takes any more.
  const std::string chunk(65536, 'x');
  while (
      ::send(fd, chunk.data(), chunk.size(), MSG_DONTWAIT) > 0 ||
      test::eventually(std::chrono::milliseconds(300), [&] { return ::send(fd, chunk.data(), 1, MSG_DONTWAIT) > 0; })) {
  }
  test::reset(client);
  CHECK(scene.next_flags() == "DC");
  CHECK(end_of(server) == ECONNRESET);
}

TEST_CASE("proxy relay: a reader that is slow holds the sender up, and gets every byte") {
  Scene scene({}, true);
  const auto client = scene.connect();
  const auto server = accept_one(scene.server);
  const std::string payload = noise(30'000'000, 4);
  std::atomic<std::size_t> sent = 0;
  std::jthread sends([&] {
    for (std::size_t at = 0; at < payload.size(); at += 65536) {
      send_text(client, std::string_view(payload).substr(at, 65536));
      sent = at;
    }
    shut(client);
  });
  // It gets stuck, with less on the way than sockets and one block hold.
  std::size_t before = 1;
  CHECK(test::eventually(kLong, [&] { return std::exchange(before, sent.load()) == sent && sent > 0; }));
  CHECK(sent < 20'000'000);
  CHECK(receive_exactly(server, payload.size()) == payload);
  CHECK(end_of(server) == 0);
}

TEST_CASE("proxy relay: an upstream that refuses resets the client") {
  Scene scene;
  scene.server.reset();
  const auto client = scene.connect();
  CHECK(end_of(client) == ECONNRESET);
  const auto line = scene.next_line();
  CHECK(line.at("flags").as_string() == "UF");
  CHECK(line.at("details").as_string() == "connect: Connection refused");
}

TEST_CASE("proxy relay: an upstream that does not answer is given up in time") {
  ProxyWorld world({.settings = {.threads = 1, .connect_timeout = std::chrono::milliseconds(150)}});
  // A queue that is full: the SYN is dropped.
  const auto server = test::listen_on_loopback(false, 0);
  const auto fills = test::connect_to(test::place_of(server.get()));
  world.peers.lead_to(test::place_of(server.get()));
  const auto client = world.connect();
  CHECK(end_of(client) == ECONNRESET);
  const auto line = world.next_line();
  CHECK(line.at("flags").as_string() == "UF");
  CHECK(line.at("details").as_string() == "connect: timeout");
  CHECK(line.at("durationMs").to_number<int>() < 1000);
}

TEST_CASE("proxy relay: who is not known, or not to be carried, is reset") {
  Scene scene;
  scene.peers.unknown = true;
  CHECK(end_of(scene.connect()) == ECONNRESET);
  auto line = scene.next_line();
  CHECK(line.at("flags").as_string() == "NR");
  CHECK(line.at("source").at("ip").is_null());
  scene.peers.unknown = false;
  scene.peers.refuses = true;
  CHECK(end_of(scene.connect()) == ECONNRESET);
  line = scene.next_line();
  CHECK(line.at("flags").as_string() == "UF");
  CHECK(line.at("details").as_string() == "announce: Operation not permitted");
}

TEST_CASE("proxy relay: idle connections end, others do not") {
  Scene scene({.settings = {.threads = 1, .idle_timeout = std::chrono::milliseconds(1500)}});
  const auto idle = scene.connect();
  const auto idle_server = accept_one(scene.server);
  const auto busy = scene.connect();
  const auto busy_server = accept_one(scene.server);
  std::atomic<bool> done = false;
  std::jthread chats([&] {
    while (!done) {
      send_text(busy, "x");
      receive_exactly(busy_server, 1);
      test::readable(busy.get(), std::chrono::milliseconds(50));
    }
  });
  CHECK(end_of(idle) == ECONNRESET);
  CHECK(end_of(idle_server) == ECONNRESET);
  CHECK(scene.next_flags() == "SI");
  done = true;
  chats.join();
  send_text(busy_server, "y");
  CHECK(receive_exactly(busy, 1) == "y");
}

TEST_CASE("proxy relay: a thousand connections on two threads, all alive at once") {
  Scene scene({.settings = {.threads = 2}});
  constexpr int kCount = 1000;
  std::vector<UniqueFd> clients;
  std::vector<UniqueFd> servers;
  std::jthread accepts([&] {
    for (int i = 0; i < kCount; ++i) servers.push_back(accept_one(scene.server));
  });
  for (int i = 0; i < kCount; ++i) {
    clients.push_back(scene.connect());
    send_text(clients.back(), "ping");
  }
  accepts.join();
  for (const auto& server : servers) {
    CHECK(receive_exactly(server, 4) == "ping");
    send_text(server, "pong");
  }
  for (const auto& client : clients) CHECK(receive_exactly(client, 4) == "pong");
  const auto report = scene.agent->wait_for_report([](const auto& it) { return it.accepted == kCount; });
  CHECK(report.connections == kCount);
  clients.clear();
  for (const auto& server : servers) CHECK(end_of(server) == 0);
  servers.clear();
  scene.agent->wait_for_report([](const auto& it) { return it.connections == 0 && it.ended.at("-") == kCount; });
  for (int i = 0; i < kCount; ++i) REQUIRE(scene.next_flags() == "-");
}
