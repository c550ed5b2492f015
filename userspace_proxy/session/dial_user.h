// SPDX-License-Identifier: Apache-2.0
// Who waits for a socket to dial with: a TCP connection or an upstream of HTTP's.
#pragma once

#include "underpass/ids.h"
#include "underpass/unique_fd.h"
#include "userspace_proxy/session/outcome.h"

namespace underpass::session {

class DialUser {
 public:
  virtual ~DialUser() = default;
  [[nodiscard]] virtual NetnsCookie pod() const = 0;  // in whose network namespace
  [[nodiscard]] virtual bool dials_v6() const = 0;
  // Of that network namespace and family, unconnected.
  virtual void dial(UniqueFd socket) = 0;
  // There is none, and there will be none.
  virtual void no_dial(Flag flag, const char* details) = 0;
};

}  // namespace underpass::session
