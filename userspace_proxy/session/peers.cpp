// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/peers.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "userspace_proxy/session/record.h"

namespace underpass::session {

bool announce(Peers& peers, int dial, std::uint64_t id, const Record& record) {
  if (!peers.announce(dial, id)) return false;
  if (!record.inbound || record.tunnel == UP_TUNNEL_NONE) return true;
  return peers.announce_client(dial, {.client = record.client, .client_port = record.client_port, .pad = 0, .pad2 = 0});
}

bool SocketOptionPeers::ask(int accepted, up_peer& peer) {
  socklen_t size = sizeof(peer);
  return ::getsockopt(accepted, SOL_IP, UP_SO_PEER, &peer, &size) == 0 && size == sizeof(peer);
}

bool SocketOptionPeers::announce(int dial, std::uint64_t id) {
  return ::setsockopt(dial, SOL_IP, UP_SO_CARRIES, &id, sizeof(id)) == 0;
}

bool SocketOptionPeers::announce_errand(int dial) {
  const std::uint32_t one = 1;
  return ::setsockopt(dial, SOL_IP, UP_SO_ERRAND, &one, sizeof(one)) == 0;
}

bool SocketOptionPeers::announce_client(int dial, const up_tunnelled& client) {
  return ::setsockopt(dial, SOL_IP, UP_SO_CLIENT, &client, sizeof(client)) == 0;
}

}  // namespace underpass::session
