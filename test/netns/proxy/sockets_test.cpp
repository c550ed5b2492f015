// SPDX-License-Identifier: Apache-2.0
// Ways in which applications make their sockets, that a worker is between or that it has nothing to do with.
#include <doctest/doctest.h>
#include <poll.h>

#include "test/netns/proxy/lines.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

constexpr const char* kVip4 = "10.96.0.1";
constexpr const char* kVip6 = "fd00:96::1";

std::string ip_of(const Address& address) {
  const std::string text = address.to_string();
  return text.substr(0, text.rfind(':'));
}

void check_echo(int client, int server) {
  send_all(client, "ping");
  CHECK(receive_exactly(server, 4) == "ping");
  send_all(server, "pong");
  CHECK(receive_exactly(client, 4) == "pong");
}

// Everything that is made while it lives goes one way.
class AllGo {
 public:
  AllGo(const Scene& scene, up_way way) : scene_(scene), way_(way), before_(scene.world.pinned.stats()) {}
  void check(std::uint64_t connections) const {
    const up_stats now = scene_.world.pinned.stats();
    for (const up_way way : {UP_WAY_DIRECT, UP_WAY_PROXIED}) {
      CAPTURE(static_cast<int>(way));
      CHECK(now.connections[way] - before_.connections[way] == (way == way_ ? connections : 0));
    }
  }

 private:
  const Scene& scene_;
  up_way way_;
  up_stats before_;
};

TEST_CASE("proxy: a v4-mapped socket keeps what it is") {
  const Scene scene;
  const AllGo all(scene, UP_WAY_PROXIED);
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  const Address to = Address::of("::ffff:" + scene.at("b").v4, local_address(listener.get()).port());
  const UniqueFd client = connect_from(scene.at("a"), to);
  const UniqueFd server = accept_from(listener.get());
  CHECK(peer_of(client.get()).to_string() == to.to_string());
  CHECK(ip_of(local_address(client.get())) == "[::ffff:" + scene.at("a").v4 + "]");
  CHECK(ip_of(peer_of(server.get())) == scene.at("a").v4);
  CHECK(peer_of(server.get()).port() == local_address(client.get()).port());
  check_echo(client.get(), server.get());
  all.check(1);
}

TEST_CASE("proxy: a client that is bound keeps its address and its port") {
  const Scene scene;
  const AllGo all(scene, UP_WAY_PROXIED);
  for (const int family : kFamilies) {
    const std::string any = family == AF_INET ? "0.0.0.0" : "::";
    const std::uint16_t port = family == AF_INET ? 40001 : 40003;
    for (const Address& own : {Address::of(scene.at("a").ip(family), 0), Address::of(scene.at("a").ip(family), port),
                               Address::of(any, port + 1)}) {
      CAPTURE(own.to_string());
      const UniqueFd listener = listen_at(scene.at("b"), family);
      const UniqueFd client = connect_from(scene.at("a"), local_address(listener.get()),
                                           [&](int fd) { REQUIRE(::bind(fd, own.get(), own.size) == 0); });
      const UniqueFd server = accept_from(listener.get());
      const Address seen = peer_of(server.get());
      CHECK(ip_of(seen) == ip_of(Address::of(scene.at("a").ip(family), 0)));
      CHECK(seen.port() == local_address(client.get()).port());
      if (own.port() != 0) CHECK(seen.port() == own.port());
      CHECK(peer_of(client.get()).to_string() == local_address(listener.get()).to_string());
      check_echo(client.get(), server.get());
    }
  }
  all.check(6);
}

TEST_CASE("proxy: connect() that does not wait") {
  const Scene scene;
  const AllGo all(scene, UP_WAY_PROXIED);
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const Address to = local_address(listener.get());
    const UniqueFd client = socket_in(scene.at("a").netns, family, SOCK_STREAM | SOCK_NONBLOCK);
    if (::connect(client.get(), to.get(), to.size) != 0) REQUIRE(errno == EINPROGRESS);
    pollfd wait{.fd = client.get(), .events = POLLOUT, .revents = 0};
    REQUIRE(::poll(&wait, 1, 10000) == 1);
    CHECK(get_option(client.get(), SOL_SOCKET, SO_ERROR) == 0);
    const UniqueFd server = accept_from(listener.get());
    check_echo(client.get(), server.get());
  }
  all.check(2);
}

TEST_CASE("proxy: through a Service its client sees the Service, and the server the client") {
  const Scene scene;
  constexpr std::uint16_t kTarget = 8080;
  scene.world.objects.put(ServiceObject{.ns = "shop",
                                        .name = "web",
                                        .cluster_ips = {kVip4, kVip6},
                                        .ports = {{.name = "tcp", .port = 80, .target = std::to_string(kTarget)}}});
  for (const bool v6 : {false, true})
    scene.world.objects.put(EndpointSliceObject{.ns = "shop",
                                                .name = v6 ? "web-6" : "web-4",
                                                .service = "web",
                                                .ports = {{.name = "tcp", .port = kTarget}},
                                                .endpoints = {{.ip = v6 ? scene.at("b").v6 : scene.at("b").v4}},
                                                .v6 = v6});
  REQUIRE(eventually(seconds(10), [&] { return scene.world.pinned.entries("up_backends") == 2; }));
  const AllGo all(scene, UP_WAY_PROXIED);
  for (const int family : kFamilies) {
    const Address vip = Address::of(family == AF_INET ? kVip4 : kVip6, 80);
    const UniqueFd listener = listen_at(scene.at("b"), family, {}, kTarget);
    const UniqueFd client = connect_from(scene.at("a"), vip);
    const UniqueFd server = accept_from(listener.get());
    CHECK(peer_of(client.get()).to_string() == vip.to_string());
    CHECK(peer_of(server.get()).to_string() == local_address(client.get()).to_string());
    CHECK(ip_of(peer_of(server.get())) == ip_of(Address::of(scene.at("a").ip(family), 0)));
    check_echo(client.get(), server.get());
  }
  all.check(2);
  for (const auto& line : wait_lines(scene, 2)) {
    CHECK(field_of(line, "service") == "shop/web:80");
    CHECK(field_of(line, "destination.pod") == "b");
    CHECK(field_of(line, "destination.port") == std::to_string(kTarget));
  }
}

TEST_CASE("proxy: excluded ports are not for a worker") {
  const Scene scene;
  const auto is_direct = [&](const char* from, const Address& to) {
    const std::uint64_t proxied = scene.world.established(UP_WAY_PROXIED);
    connect_from(scene.at(from), to);
    return scene.world.established(UP_WAY_PROXIED) == proxied;
  };
  for (const int family : kFamilies) {
    const UniqueFd excluded = listen_at(scene.at("out"), family);
    const UniqueFd other = listen_at(scene.at("out"), family);
    const Address to = local_address(excluded.get());
    annotate(scene, "a", {{"underpass.dev/exclude-outbound-ports", std::to_string(to.port())}});
    REQUIRE(eventually(seconds(5), [&] { return is_direct("a", to); }));
    CHECK_FALSE(is_direct("a", local_address(other.get())));
    annotate(scene, "a", {});
    REQUIRE(eventually(seconds(5), [&] { return !is_direct("a", to); }));

    const UniqueFd inbound = listen_at(scene.at("b"), family);
    const UniqueFd judged = listen_at(scene.at("b"), family);
    const Address at = local_address(inbound.get());
    annotate(scene, "b", {{"underpass.dev/exclude-inbound-ports", std::to_string(at.port())}});
    REQUIRE(eventually(seconds(5), [&] { return is_direct("out", at); }));
    CHECK_FALSE(is_direct("out", local_address(judged.get())));
    annotate(scene, "b", {});
    REQUIRE(eventually(seconds(5), [&] { return !is_direct("out", at); }));
  }
}

TEST_CASE("proxy: a pod's connections to itself are its own") {
  const Scene scene;
  const AllGo all(scene, UP_WAY_DIRECT);
  const Place loopback{.netns = scene.at("a").netns};
  for (const int family : kFamilies) {
    for (const Place& place : {loopback, scene.at("a")}) {
      const UniqueFd listener = listen_at(place, family);
      const UniqueFd client = connect_from(place, local_address(listener.get()));
      const UniqueFd server = accept_from(listener.get());
      CHECK(peer_of(client.get()).to_string() == local_address(listener.get()).to_string());
      CHECK(peer_of(server.get()).to_string() == local_address(client.get()).to_string());
      check_echo(client.get(), server.get());
    }
    // Linux takes no address for loopback.
    const UniqueFd listener = listen_at(loopback, family);
    const Address none = Address::of(family == AF_INET ? "0.0.0.0" : "::", local_address(listener.get()).port());
    const UniqueFd client = connect_from(loopback, none);
    const UniqueFd server = accept_from(listener.get());
    CHECK(peer_of(client.get()).to_string() == local_address(listener.get()).to_string());
    check_echo(client.get(), server.get());
  }
  all.check(6);
}

TEST_CASE("proxy: UDP passes by") {
  const Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd server = socket_in(scene.at("b").netns, family, SOCK_DGRAM);
    const Address at = Address::of(scene.at("b").ip(family), 0);
    REQUIRE(::bind(server.get(), at.get(), at.size) == 0);
    const Address to = local_address(server.get());
    const UniqueFd client = socket_in(scene.at("a").netns, family, SOCK_DGRAM);
    REQUIRE(::connect(client.get(), to.get(), to.size) == 0);
    CHECK(peer_of(client.get()).to_string() == to.to_string());
    REQUIRE(::send(client.get(), "ping", 4, 0) == 4);
    REQUIRE(readable(server.get(), seconds(5)));
    char text[8] = {};
    Address from;
    from.size = sizeof(from.storage);
    CHECK(::recvfrom(server.get(), text, sizeof text, 0, from.get(), &from.size) == 4);
    CHECK(from.to_string() == local_address(client.get()).to_string());
  }
}

TEST_CASE("proxy: who dials the worker's listener itself is hung up on") {
  const Scene scene;
  const pid_t worker = scene.worker_pid();
  for (const int family : kFamilies) {
    for (const std::uint16_t port : {std::uint16_t{15001}, std::uint16_t{15006}}) {
      const UniqueFd client = connect_from(scene.at("a"), Address::of(family == AF_INET ? "127.0.0.1" : "::1", port));
      (void)::send(client.get(), "hello", 5, MSG_NOSIGNAL);
      char byte = 0;
      REQUIRE(readable(client.get(), seconds(10)));
      CHECK(::recv(client.get(), &byte, 1, 0) <= 0);
    }
  }
  for (const auto& line : wait_lines(scene, 4)) CHECK(field_of(line, "flags") == "NR");
  CHECK(scene.worker_pid() == worker);
  const Pair pair = make_pair_between(scene.at("a"), scene.at("b"), AF_INET);
  check_echo(pair.client.get(), pair.server.get());
}

}  // namespace
}  // namespace underpass::test
