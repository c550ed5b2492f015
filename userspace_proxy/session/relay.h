// SPDX-License-Identifier: Apache-2.0
// Two transports, and the bytes between them. Each direction ends by itself: a FIN is handed on after the bytes before
// it. Never reads what it cannot hand on: a direction holds at most one block, and none while it waits for bytes.
//
// recv() and send() only: with splice() a reader hangs whose peer is short-circuited. And recv() until EAGAIN: such a
// socket has two queues, so a short read does not mean that there is no more.
#pragma once

#include <cstdint>

#include <memory>

#include "userspace_proxy/net/transport.h"
#include "userspace_proxy/session/buffer_pool.h"

namespace underpass::session {

class Relay {
 public:
  // One transport, and what was last known of it.
  struct Side {
    std::unique_ptr<net::Transport> transport;
    bool readable = false;   // a recv() may have something
    bool writable = false;   // a send() may take something
    bool waits_out = false;  // the last send() did not take everything
  };
  enum class Outcome { kWaits, kMore, kEnded, kClientFailed, kServerFailed };
  struct Step {
    Outcome outcome = Outcome::kWaits;
    int error = 0;       // errno, where one failed
    bool moved = false;  // a byte or an end went on
  };

  Side client;
  Side server;

  // Moves what can be moved. kMore: more could be at once, but others want their turn.
  Step pump(BufferPool& buffers);

  // Gives held blocks back.
  void release(BufferPool& buffers);

  [[nodiscard]] std::uint64_t sent() const { return up_.bytes; }        // client to server
  [[nodiscard]] std::uint64_t received() const { return down_.bytes; }  // ... and back

 private:
  struct Direction {
    BufferPool::Block block;
    std::uint32_t begin = 0;  // of what is in the block
    std::uint32_t end = 0;
    bool ended = false;  // FIN was read
    bool shut = false;   // ... and handed on
    std::uint64_t bytes = 0;
  };
  enum class Way { kWaits, kMore, kReadFailed, kWriteFailed };
  static Way pump(Direction& direction, Side& from, Side& to, BufferPool& buffers, Step& step);
  static bool flush(Direction& direction, Side& to, Step& step);

  Direction up_;
  Direction down_;
};

}  // namespace underpass::session
