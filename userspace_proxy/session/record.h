// SPDX-License-Identifier: Apache-2.0
// What is kept of struct up_peer (900 bytes, most of them padding of names) while a connection lasts: what its line in
// the access log will say, in one piece of memory.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "underpass/abi.h"
#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/session/routes.h"

namespace underpass::session {

class Record {
 public:
  enum Name {
    kSourceNamespace,
    kSourcePod,
    kSourceIdentity,
    kDestinationNamespace,
    kDestinationPod,
    kDestinationIdentity,
    kServiceNamespace,
    kServiceName,
    kNames
  };

  Record() = default;  // of a connection that nobody knows
  // `pod` is whose listener it came to. `peer_id`: of what came through a tunnel, whom its certificate names.
  Record(const up_peer& peer, NetnsCookie pod, const Routes& routes, std::string_view peer_id = {});

  // Empty: not known.
  [[nodiscard]] std::string_view name(Name which) const {
    const std::size_t begin = which == 0 ? 0 : ends_[which - 1];
    return std::string_view(names_).substr(begin, ends_[which] - begin);
  }

  std::chrono::system_clock::time_point start;
  NetnsCookie client_netns = 0;  // 0: not attested
  NetnsCookie server_netns = 0;  // 0: no enrolled pod of this node
  std::uint32_t service = 0;     // as the maps number it, 0: none
  std::uint32_t remote = 0;      // ... and the workload of an end that is on another node, 0: not known
  up_addr client{};
  up_addr server{};
  up_addr dialled{};
  __be16 client_port = 0;  // 0: not known, and so below
  __be16 server_port = 0;
  __be16 dialled_port = 0;
  bool inbound = false;
  // How it goes to the server, or came from the client: with this its ends are known by certificate.
  up_tunnel tunnel = UP_TUNNEL_NONE;
  // What log::append_way() wrote of all of this once: lines of a connection's requests have it in common.
  mutable std::string written;

 private:
  void add(Name which, std::string_view text);

  std::string names_;
  std::array<std::uint16_t, kNames> ends_{};  // of each name, in names_
};

// As policy sees the connection.
inline authz::Peer peer_of(const Record& record) {
  return {.identity = std::string(record.name(Record::kSourceIdentity)),
          .client_ip = IpAddress(record.client),
          .remote_ip = IpAddress(record.client),
          .server_ip = IpAddress(record.server),
          .server_port = ntohs(record.server_port)};
}

}  // namespace underpass::session
