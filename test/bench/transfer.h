// SPDX-License-Identifier: Apache-2.0
// send() and recv() as ordinary programs make them: nothing between the measurement and the system call.
#pragma once

#include <cstddef>
#include <span>

#include "underpass/unique_fd.h"

namespace underpass::bench {

// How a reader waits: asleep in recv(), or in epoll_wait() before a recv() that does not wait, as event loops do.
enum class Wait { kInRecv, kInEpoll };

void set_nodelay(const UniqueFd& fd);
UniqueFd accept_one(const UniqueFd& listener);

// All of it; false: the peer closed. These throw on an error.
bool write_all(const UniqueFd& fd, std::span<const std::byte> bytes);

// Reads a socket that outlives it.
class Reader {
 public:
  explicit Reader(const UniqueFd& socket, Wait wait = Wait::kInRecv);

  // All of it; false: the peer closed.
  bool all(std::span<std::byte> bytes);
  // What there is, at least one byte; 0: the peer closed.
  std::size_t some(std::span<std::byte> bytes);

 private:
  int socket_;
  UniqueFd epoll_;  // none: asleep in recv()
};

}  // namespace underpass::bench
