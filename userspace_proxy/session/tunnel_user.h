// SPDX-License-Identifier: Apache-2.0
// Who wants a stream of a tunnel: a TCP connection, or an upstream of HTTP's.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "userspace_proxy/net/transport.h"
#include "userspace_proxy/session/outcome.h"
#include "userspace_proxy/session/record.h"

namespace underpass::session {

class TunnelUser {
 public:
  virtual ~TunnelUser() = default;
  // The other node has reached the server.
  virtual void on_tunnel(std::unique_ptr<net::Transport> stream) = 0;
  virtual void no_tunnel(Flag flag, std::string_view details) = 0;

  // For whom it is, and where it is to lead.
  [[nodiscard]] virtual const Record& tunnelled() const = 0;
  // The accepted connection for which it is.
  [[nodiscard]] virtual std::uint64_t carried() const = 0;
};

}  // namespace underpass::session
