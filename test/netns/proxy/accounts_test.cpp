// SPDX-License-Identifier: Apache-2.0
// What is told of proxied connections: a line of the access log each, with what is true of it, and each counted once;
// also when there are thousands, and just after the agent's start.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "test/netns/proxy/lines.h"

namespace underpass::test {
namespace {

constexpr const char* kIdentity = "spiffe://cluster.local/ns/shop/sa/default";

void say_and_close(const Pair& pair) {
  send_all(pair.client.get(), "hello");
  CHECK(receive_exactly(pair.server.get(), 5) == "hello");
  send_all(pair.server.get(), "welcome");
  CHECK(receive_exactly(pair.client.get(), 7) == "welcome");
}

// The metric's value summed over the series that have this label.
double metric(const Scene& scene, const std::string& name, const std::string& label) {
  const std::string listen = text_of(scene.world.ctl.json({"status"}).at("listen").at("metrics"));
  std::istringstream lines(run_ok({.argv = {"curl", "-sSf", "http://" + listen + "/metrics"}}));
  double sum = 0;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + "{") && line.find(label) != std::string::npos)
      sum += std::stod(line.substr(line.rfind(' ')));
  return sum;
}

TEST_CASE("proxy: a line of the access log says what is true of its connection") {
  const Scene scene;
  std::size_t count = 0;
  for (const int family : kFamilies) {
    for (const auto& [client, server] : {std::pair{"a", "b"}, std::pair{"a", "out"}, std::pair{"out", "b"}}) {
      CAPTURE(client);
      CAPTURE(server);
      std::string from, to;
      {
        const Pair pair = make_pair_between(scene.at(client), scene.at(server), family);
        say_and_close(pair);
        from = std::to_string(local_address(pair.client.get()).port());
        to = std::to_string(local_address(pair.server.get()).port());
      }
      const boost::json::value line = wait_lines(scene, ++count).back();
      INFO(boost::json::serialize(line));
      const std::map<std::string, bool> inside{{"a", true}, {"b", true}, {"out", false}};
      const auto check_end = [&](const std::string& end, const char* pod, const std::string& port) {
        CHECK(field_of(line, end + ".ip") == scene.at(pod).ip(family));
        CHECK(field_of(line, end + ".port") == port);
        CHECK(field_of(line, end + ".pod") == (inside.at(pod) ? pod : ""));
        CHECK(field_of(line, end + ".namespace") == (inside.at(pod) ? "shop" : ""));
        CHECK(field_of(line, end + ".identity") == (inside.at(pod) ? kIdentity : ""));
      };
      check_end("source", client, from);
      check_end("destination", server, to);
      CHECK(field_of(line, "direction") == (inside.at(client) ? "outbound" : "inbound"));
      CHECK(field_of(line, "way") == "proxied");
      CHECK(field_of(line, "protocol") == "tcp");
      CHECK(field_of(line, "flags") == "-");
      CHECK(field_of(line, "details").empty());
      CHECK(field_of(line, "service").empty());
      CHECK(field_of(line, "dialled").empty());
      CHECK(field_of(line, "bytesSent") == "5");
      CHECK(field_of(line, "bytesReceived") == "7");
      CHECK(line.at("durationMs").to_number<int>() < 10000);
      const std::string start = field_of(line, "start");
      CHECK(start.size() == std::string("2026-01-01T00:00:00.000Z").size());
      CHECK(start.ends_with('Z'));
    }
  }
}

TEST_CASE("proxy: the duration is from accept() to the end") {
  const Scene scene;
  {
    const auto begin = Clock::now();
    const Pair pair = make_pair_between(scene.at("a"), scene.at("b"), AF_INET);
    REQUIRE(eventually(seconds(5), [&] { return Clock::now() - begin > milliseconds(300); }));
    say_and_close(pair);
  }
  const auto took = wait_lines(scene, 1).back().at("durationMs").to_number<int>();
  CHECK(took >= 250);
  CHECK(took < 5000);
}

TEST_CASE("proxy: a proxied connection counts once for each end") {
  const Scene scene;
  constexpr int kBetween = 20, kFromOutside = 7, kToOutside = 5;
  const auto talk = [&](const char* client, const char* server, int times) {
    for (int i = 0; i < times; ++i)
      say_and_close(make_pair_between(scene.at(client), scene.at(server), kFamilies[i % 2]));
  };
  talk("a", "b", kBetween);
  talk("out", "b", kFromOutside);
  talk("a", "out", kToOutside);
  const auto is = [&](const char* reporter, const std::string& name, double value) {
    CAPTURE(reporter);
    double got = 0;
    const bool equal = eventually(seconds(10), [&] {
      return (got = metric(scene, name, std::string("reporter=\"") + reporter + "\"")) == value;
    });
    CHECK_MESSAGE(equal, name << " is " << got << ", wanted " << value);
  };
  for (const auto& [reporter, count] :
       {std::pair{"source", kBetween + kToOutside}, std::pair{"destination", kBetween + kFromOutside}}) {
    is(reporter, "istio_tcp_connections_opened_total", count);
    is(reporter, "istio_tcp_connections_closed_total", count);
    is(reporter, "istio_tcp_received_bytes_total", count * 5);
    is(reporter, "istio_tcp_sent_bytes_total", count * 7);
  }
}

TEST_CASE("proxy: no end of a stream is counted as a byte, whoever ends first, through a worker or not") {
  const Scene scene;
  double connections = 0;
  for (const bool captured_now : {true, false}) {
    CAPTURE(captured_now);
    if (!captured_now) {
      scene.world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
      scene.wait_not_captured("b");
    }
    for (const bool server_first : {true, false}) {
      CAPTURE(server_first);
      for (int i = 0; i < 6; ++i) {
        Pair pair = make_pair_between(scene.at("out"), scene.at("b"), kFamilies[i % 2]);
        say_and_close(pair);
        UniqueFd& first = server_first ? pair.server : pair.client;
        UniqueFd& second = server_first ? pair.client : pair.server;
        first.reset();
        char byte = 0;
        REQUIRE(readable(second.get(), seconds(5)));
        CHECK(::recv(second.get(), &byte, 1, 0) == 0);
      }
      connections += 6;
      const auto is = [&](const std::string& name, double value) {
        return eventually(seconds(10), [&] { return metric(scene, name, "reporter=\"destination\"") == value; });
      };
      CHECK(is("istio_tcp_connections_closed_total", connections));
      CHECK(is("istio_tcp_received_bytes_total", connections * 5));
      CHECK(is("istio_tcp_sent_bytes_total", connections * 7));
    }
  }
}

// More than the dial sockets that a worker begins with, before the agent's first second is over.
TEST_CASE("proxy: 2,000 connections at once, from the first moment on") {
  const Scene scene;
  constexpr std::size_t kMany = 2000, kStep = 200;
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  const Address to = local_address(listener.get());
  std::vector<Pair> pairs;
  while (pairs.size() < kMany) {
    std::vector<UniqueFd> clients;
    run_in_netns(scene.at("a").netns, [&] {
      for (std::size_t i = 0; i < kStep; ++i) clients.push_back(connect_from({}, to));
    });
    std::map<std::string, UniqueFd> servers;
    for (std::size_t i = 0; i < kStep; ++i) {
      UniqueFd server = accept_from(listener.get());
      servers[peer_of(server.get()).to_string()] = std::move(server);
    }
    for (UniqueFd& client : clients) {
      auto server = servers.find(local_address(client.get()).to_string());
      REQUIRE(server != servers.end());
      pairs.push_back({.client = std::move(client), .server = std::move(server->second)});
    }
  }
  for (const Pair& pair : pairs) {
    const std::string word = std::to_string(pair.client.get());
    send_all(pair.client.get(), word);
    REQUIRE(receive_exactly(pair.server.get(), word.size()) == word);
    send_all(pair.server.get(), word);
    REQUIRE(receive_exactly(pair.client.get(), word.size()) == word);
  }
  CHECK(scene.world.established(UP_WAY_DIRECT) == 0);
  pairs.clear();
  const auto lines = wait_lines(scene, kMany);
  CHECK(lines.size() == kMany);
  CHECK(std::ranges::all_of(lines, [](const auto& line) { return field_of(line, "flags") == "-"; }));
}

}  // namespace
}  // namespace underpass::test
