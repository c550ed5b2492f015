// SPDX-License-Identifier: Apache-2.0
// A stream of bytes in each direction, as sessions see it: a TCP socket, TLS over one, or a stream of a tunnel. All of
// them behave as a non-blocking socket does, and calls fail with -1 and errno as its system calls do.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "userspace_proxy/net/loop.h"

namespace underpass::net {

class Transport {
 public:
  // What was not closed is cut off: the peer hears of a reset.
  virtual ~Transport() = default;

  // Tells `watcher` what epoll tells of a descriptor, edge-triggered: `events` that are of interest; ERR and HUP
  // always.
  virtual bool watch(std::uint32_t events, Watcher& watcher) = 0;
  // Another set of events; what is ready already is told again.
  virtual bool rewatch(std::uint32_t events, Watcher& watcher) = 0;
  virtual void unwatch() = 0;

  // 0: the peer has sent its end.
  virtual ssize_t receive(char* to, std::size_t most) = 0;
  // As receive(), and what is told is told once more by the next call.
  virtual ssize_t peek(char* to, std::size_t most) = 0;
  virtual ssize_t send(const char* bytes, std::size_t size) = 0;
  // 0, or -1: the end of what is sent.
  virtual int shut_write() = 0;
  // SO_ERROR: what happened since it was asked last, 0: nothing.
  virtual int take_error() = 0;
  // In order: what was sent arrives, and then the end. Else the peer hears of a reset.
  virtual void close(bool in_order) = 0;

  // Of a tunnel's stream that a peer has opened: whether what it asked for is reached. Until then it hears nothing, and
  // close() says kUnreachable.
  enum class Answer : std::uint8_t { kReached, kDenied, kUnreachable };
  virtual void answer(Answer) {}
};

}  // namespace underpass::net
