// SPDX-License-Identifier: Apache-2.0
// O_NONBLOCK for descriptors that others made. It belongs to what is open, not to the descriptor: whoever has a copy
// gets it too.
#pragma once

#include <fcntl.h>

namespace underpass::net {

// Where it fails the descriptor is not one, which its next use tells.
inline void make_non_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) (void)::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

}  // namespace underpass::net
