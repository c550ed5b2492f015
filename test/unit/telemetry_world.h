// SPDX-License-Identifier: Apache-2.0
// A connection and a request of it, for tests of what is told of them.
#pragma once

#include <arpa/inet.h>

#include <chrono>
#include <cstdio>

#include "underpass/ip_address.h"
#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::test {

inline constexpr auto kNoon =
    std::chrono::sys_days(std::chrono::year(2026) / 2 / 3) + std::chrono::milliseconds(4'005'006);

// What the kernel says of a connection from shop/web to shop/db through Service 9.
inline up_peer peer_between(NetnsCookie client, NetnsCookie server, bool inbound = false) {
  up_peer peer{};
  peer.client_netns = client;
  peer.server_netns = server;
  peer.direction = inbound ? UP_INBOUND : UP_OUTBOUND;
  peer.service = 9;
  peer.client_port = htons(40000);
  peer.server_port = htons(5432);
  peer.dialled_port = htons(15432);
  peer.client = IpAddress::parse("fd00::1")->to_abi();
  peer.server = IpAddress::parse("fd00::2")->to_abi();
  peer.dialled = IpAddress::parse("fd01::3")->to_abi();
  std::snprintf(peer.client_namespace, sizeof(peer.client_namespace), "shop");
  std::snprintf(peer.client_pod, sizeof(peer.client_pod), "web");
  std::snprintf(peer.server_namespace, sizeof(peer.server_namespace), "shop");
  std::snprintf(peer.server_pod, sizeof(peer.server_pod), "db");
  std::snprintf(peer.service_namespace, sizeof(peer.service_namespace), "shop");
  std::snprintf(peer.service_name, sizeof(peer.service_name), "db");
  return peer;
}

// ... told by the client's worker.
inline session::Record record_between(NetnsCookie client, NetnsCookie server, bool inbound = false) {
  const session::Routes routes(
      {.revision = 1,
       .settings = {},
       .pods = {{.netns = client, .id = {"shop", "web"}, .identity = "spiffe://td/ns/shop/sa/web"}},
       .identities = {}});
  return {peer_between(client, server, inbound), inbound ? server : client, routes};
}

inline telemetry::RequestRecord request_over(const session::Record& connection) {
  telemetry::RequestRecord out;
  out.start = kNoon;
  out.duration = std::chrono::microseconds(1234);
  out.upstream_service = std::chrono::microseconds(7);
  out.connection = &connection;
  out.method = "GET";
  out.authority = "db.shop:15432";
  out.path = "/a?b=c";
  out.status = 200;
  out.request_bytes = 10;
  out.response_bytes = 20;
  out.request_id = "7f1e";
  out.user_agent = "curl/8";
  out.outbound_reported = true;
  return out;
}

}  // namespace underpass::test
