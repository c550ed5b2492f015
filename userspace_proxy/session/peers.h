// SPDX-License-Identifier: Apache-2.0
// The two things that only the kernel can do for a connection: say who dialled it, and know which of our dials carries
// it on. An interface, since what answers in the product are the agent's BPF programs.
#pragma once

#include <cstdint>

#include "underpass/abi.h"

namespace underpass::session {

class Record;

class Peers {
 public:
  virtual ~Peers() = default;

  // Who is at the other end of an accepted connection; false where nobody knows: it was not led here.
  virtual bool ask(int accepted, up_peer& peer) = 0;
  // Before connect(): this dial carries the connection `id`. False, with errno, where that is refused.
  virtual bool announce(int dial, std::uint64_t id) = 0;
  // ... or none: it goes where the agent lets this pod's worker go for itself.
  virtual bool announce_errand(int dial) = 0;
  // After announce() of a tunnel that was accepted: whose connection came through it.
  virtual bool announce_client(int dial, const up_tunnelled& client) = 0;
};

// Before connect(): this dial carries the connection `id`, of which `record` tells; and where that came through a
// tunnel, whose it is.
bool announce(Peers& peers, int dial, std::uint64_t id, const Record& record);

// UP_SO_PEER, UP_SO_CARRIES and the others of abi.h.
class SocketOptionPeers final : public Peers {
 public:
  bool ask(int accepted, up_peer& peer) override;
  bool announce(int dial, std::uint64_t id) override;
  bool announce_errand(int dial) override;
  bool announce_client(int dial, const up_tunnelled& client) override;
};

}  // namespace underpass::session
