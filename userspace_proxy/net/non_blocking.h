// SPDX-License-Identifier: Apache-2.0
// O_NONBLOCK for descriptors that others made, and what follows from it. It belongs to what is open, not to the
// descriptor: whoever has a copy gets it too.
#pragma once

#include <fcntl.h>

#include <cerrno>

namespace underpass::net {

// Where it fails the descriptor is not one, which its next use tells.
inline void make_non_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) (void)::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

// Of a call on such a one: it is to be tried again when the socket is ready.
constexpr bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace underpass::net
