// SPDX-License-Identifier: Apache-2.0
// Where a tunnel leads, which records are told of what goes through one, and what a worker may do with each.
#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <string>

#include "test/bpf/decisions.h"
#include "underpass/ip_address.h"
#include "underpass/seal.h"

namespace underpass::test {
namespace {

up_addr addr(const std::string& text) { return IpAddress::parse(text).value().to_abi(); }

void put(Decisions& decisions, const std::string& ip, std::uint16_t port, up_tunnel tunnel, std::uint32_t identity) {
  up_remote_key key{};
  key.addr = addr(ip);
  key.port = htons(port);
  up_remote row{};
  row.identity = identity;
  row.tunnel = tunnel;
  row.workload = identity + 100;
  row.seal = up_remote_seal(&key, row.identity, row.tunnel, row.workload);
  REQUIRE(bpf_map_update_elem(bpf_map__fd(decisions->maps.up_remotes), &key, &row, BPF_ANY) == 0);
}

TEST_CASE("remotes: the row of the port before that of all others, and nothing for an address without one") {
  Decisions decisions;
  put(decisions, "10.0.1.1", 0, UP_TUNNEL_HBONE, 5);
  put(decisions, "10.0.1.1", 80, UP_TUNNEL_NONE, 5);
  put(decisions, "fd00::1", 0, UP_TUNNEL_NONE, 6);
  put(decisions, "fd00::1", 443, UP_TUNNEL_HBONE, 6);
  const auto of = [&](const std::string& ip, std::uint16_t port) {
    decisions->bss->address = addr(ip);
    decisions->bss->server.port = htons(port);
    const auto tunnel = decisions.run(decisions->progs.remote_of);
    const auto identity = decisions->bss->remote_identity, workload = decisions->bss->remote_workload;
    CHECK((identity == 0 ? 0 : identity + 100) == workload);
    return std::to_string(identity) + (tunnel == UP_TUNNEL_HBONE ? " hbone" : " none");
  };
  CHECK(of("10.0.1.1", 81) == "5 hbone");
  CHECK(of("10.0.1.1", 80) == "5 none");
  CHECK(of("10.0.1.1", 0) == "5 hbone");
  CHECK(of("fd00::1", 80) == "6 none");
  CHECK(of("fd00::1", 443) == "6 hbone");
  CHECK(of("10.0.1.2", 80) == "0 none");
  CHECK(of("::ffff:10.0.1.1", 80) == "5 none");
}

TEST_CASE("remotes: a row whose seal does not fit leads through a tunnel to nobody") {
  Decisions decisions;
  put(decisions, "10.0.1.1", 0, UP_TUNNEL_NONE, 5);
  up_remote_key key{};
  key.addr = addr("10.0.1.1");
  up_remote row{};
  const int fd = bpf_map__fd(decisions->maps.up_remotes);
  REQUIRE(bpf_map_lookup_elem(fd, &key, &row) == 0);
  decisions->bss->address = key.addr;
  CHECK(decisions.run(decisions->progs.remote_of) == UP_TUNNEL_NONE);
  CHECK(decisions->bss->remote_identity == 5);
  row.identity = 6;
  REQUIRE(bpf_map_update_elem(fd, &key, &row, BPF_ANY) == 0);
  CHECK(decisions.run(decisions->progs.remote_of) == UP_TUNNEL_HBONE);
  CHECK(decisions->bss->remote_identity == UP_IDENTITY_UNAUTHENTICATED);
  CHECK(decisions->bss->remote_workload == 0);
}

// From 10.0.0.7 to 10.0.1.1:80, led to the worker of its pod.
up_conn led() {
  up_conn out{};
  out.end[UP_CLIENT].addr = addr("10.0.0.7");
  out.end[UP_SERVER].addr = addr("127.0.0.1");
  out.end[UP_SERVER].port = htons(15001);
  out.end[UP_SERVER].worker = 1;
  out.original = addr("10.0.1.1");
  out.original_port = htons(80);
  out.tunnel = UP_TUNNEL_HBONE;
  return out;
}

up_conn tunnel_to_us() {
  up_conn out{};
  out.end[UP_CLIENT].addr = addr("10.0.1.1");
  out.end[UP_SERVER].addr = addr("10.0.0.7");
  out.end[UP_SERVER].port = htons(UP_TUNNEL_PORT);
  out.end[UP_SERVER].worker = UP_TUNNELS;
  return out;
}

TEST_CASE("tunnels: of what goes through one, one record on each node is told") {
  Decisions decisions;
  const auto is_told = [&](const up_conn& conn) {
    decisions->bss->conn = conn;
    return decisions.run(decisions->progs.is_told) != 0;
  };
  CHECK(is_told(up_conn{}));
  CHECK(is_told(led()));
  CHECK_FALSE(is_told(tunnel_to_us()));
  up_conn ours{};  // a tunnel that we dialled
  ours.carries = 5;
  ours.end[UP_CLIENT].worker = UP_TUNNELS;
  CHECK_FALSE(is_told(ours));
  up_conn leg{};  // ... to a server of this node, without a tunnel
  leg.carries = 5;
  leg.end[UP_CLIENT].worker = 1;
  CHECK_FALSE(is_told(leg));
  leg.tunnel = UP_TUNNEL_HBONE;  // what came from another node
  CHECK(is_told(leg));
}

TEST_CASE("tunnels: what a worker accepted says in which direction it goes") {
  Decisions decisions;
  const auto direction_of = [&](const up_conn& conn) {
    decisions->bss->conn = conn;
    CHECK(decisions.run(decisions->progs.wanted_of) == 1);
    return static_cast<up_direction>(decisions->bss->wanted_direction);
  };
  CHECK(direction_of(led()) == UP_OUTBOUND);
  CHECK(decisions->bss->wanted_tunnel == UP_TUNNEL_HBONE);
  CHECK(decisions->bss->wanted_port == htons(80));
  CHECK(direction_of(tunnel_to_us()) == UP_TUNNEL);
  up_conn local = tunnel_to_us();  // between two pods of this node: it carries somebody at its client's end
  local.carries = 5;
  local.end[UP_CLIENT].worker = UP_TUNNELS;
  local.original = addr("10.0.0.9");
  local.original_port = htons(4000);
  CHECK(direction_of(local) == UP_TUNNEL);
  up_conn inbound = tunnel_to_us();
  inbound.end[UP_SERVER].worker = 1;
  CHECK(direction_of(inbound) == UP_INBOUND);

  up_conn by_itself = tunnel_to_us();  // who dials the listener at loopback gets to nobody
  by_itself.end[UP_SERVER].addr = addr("127.0.0.1");
  by_itself.end[UP_SERVER].worker = 1;
  decisions->bss->conn = by_itself;
  CHECK(decisions.run(decisions->progs.wanted_of) == 0);
}

}  // namespace
}  // namespace underpass::test
