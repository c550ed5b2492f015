// SPDX-License-Identifier: Apache-2.0
// A connection through a worker, seen from both applications: as if nothing were between them.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "test/netns/proxy/scene.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

void check_echo(int client, int server) {
  send_all(client, "ping");
  CHECK(receive_exactly(server, 4) == "ping");
  send_all(server, "pong");
  CHECK(receive_exactly(client, 4) == "pong");
}

// Connects, and both ends see each other and nobody else.
void check_passes(const Place& from, int listener) {
  const Address to = local_address(listener);
  const UniqueFd client = connect_from(from, to);
  const Accepted server = accept_and_hear(listener);
  const Address own = local_address(client.get());
  CHECK(peer_of(client.get()).to_string() == to.to_string());
  CHECK(own.to_string().starts_with(to.family() == AF_INET ? from.v4 : "[" + from.v6));
  CHECK(server.said.to_string() == own.to_string());
  CHECK(peer_of(server.fd.get()).to_string() == own.to_string());
  CHECK(local_address(server.fd.get()).to_string() == to.to_string());
  check_echo(client.get(), server.fd.get());
}

TEST_CASE("proxy: both applications see each other, and their connection is one") {
  const Scene scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd listener = listen_at(scene.at("b"), family);
    check_passes(scene.at("a"), listener.get());

    const UniqueFd client = connect_from(scene.at("a"), local_address(listener.get()));
    const Accepted server = accept_and_hear(listener.get());
    check_echo(client.get(), server.fd.get());
    const auto row = scene.world.ctl.connection(client.get());
    REQUIRE(row);
    CHECK(row->way == "proxied");
    CHECK(row->source_pod == "a");
    CHECK(row->destination_pod == "b");
    CHECK(scene.world.ctl.connections().size() == 1);
  }
  INFO(scene.world.agent.log());
  CHECK(scene.world.established(UP_WAY_PROXIED) == 4);
  CHECK(scene.world.established(UP_WAY_DIRECT) == 0);
}

TEST_CASE("proxy: what a pod sends its worker goes past TCP, where its mode is on") {
  const Scene scene("on");
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const UniqueFd client = connect_from(scene.at("a"), local_address(listener.get()));
    const Accepted server = accept_and_hear(listener.get());
    const std::uint64_t before = scene.world.redirected();
    exchange(client.get(), server.fd.get(), 32);
    const auto record = scene.world.pinned.connection(client.get());
    REQUIRE(record);
    CHECK(record->paired == 1);
    CHECK(record->way == UP_WAY_PROXIED);
    CHECK(record->dir[UP_CLIENT].redirected_bytes > 0);
    CHECK(record->dir[UP_SERVER].redirected_bytes == 0);
    // The server's answers to its worker besides.
    CHECK(scene.world.redirected() - before > record->dir[UP_CLIENT].redirected_bytes);
  }
}

TEST_CASE("proxy: who comes from outside the mesh is let through, and seen by the server") {
  const Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    check_passes(scene.at("out"), listener.get());
  }
  CHECK(scene.world.established(UP_WAY_PROXIED) == 2);
}

TEST_CASE("proxy: a server's port is not used up by clients that close first") {
  const Scene scene;
  // As few as a busy pod has left: who closes first keeps its port for a minute.
  set_sysctl(scene.at("b").netns, "net.ipv4.ip_local_port_range", "40000 40031");
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd listener = listen_at(scene.at("b"), family);
    // IPv6 has no such room.
    for (int i = 0; i < (family == AF_INET ? 300 : 24); ++i) {
      const UniqueFd client = connect_from(scene.at("out"), local_address(listener.get()));
      const Accepted server = accept_and_hear(listener.get());
      check_echo(client.get(), server.fd.get());
      CHECK(::shutdown(client.get(), SHUT_WR) == 0);
      char byte = 0;
      REQUIRE(readable(server.fd.get(), seconds(5)));
      CHECK(::recv(server.fd.get(), &byte, 1, 0) == 0);
    }
  }
}

TEST_CASE("proxy: a pod dials what is outside the mesh") {
  const Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("out"), family);
    const Address to = local_address(listener.get());
    const UniqueFd client = connect_from(scene.at("a"), to);
    const Accepted server = accept_and_hear(listener.get());
    CHECK(peer_of(client.get()).to_string() == to.to_string());
    // Nobody there rewrites what the kernel says: it is the worker's socket, of the pod's address.
    CHECK(server.said.to_string().starts_with(family == AF_INET ? scene.at("a").v4 : "[" + scene.at("a").v6));
    check_echo(client.get(), server.fd.get());
  }
  CHECK(scene.world.established(UP_WAY_PROXIED) == 2);
}

}  // namespace
}  // namespace underpass::test
