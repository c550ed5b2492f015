// SPDX-License-Identifier: Apache-2.0
// Who sends a request over an upstream: an exchange for its client, or a question to an authorization service.
#pragma once

#include <cstdint>
#include <string_view>

#include "userspace_proxy/http/message.h"
#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::session {

class Record;
class Upstream;

// Of a server of HTTP/2 that was to open a WebSocket.
inline constexpr std::string_view kNoUpgrades = "the server takes no upgrades: no SETTINGS_ENABLE_CONNECT_PROTOCOL";

// How far a request got whose stream is over.
enum class Reached : std::uint8_t {
  kPerhaps,   // the server may have worked on it
  kNotHeard,  // a connection that was kept ended before a byte of an answer: most likely not (RFC 9110 §9.2.2)
  kNot,       // nothing of it was sent, or the server says that it did not look at it
};

class UpstreamUser {
 public:
  virtual ~UpstreamUser() = default;
  // Waits no longer: it may send.
  virtual void start_on(Upstream& server) = 0;
  // There is none, and there will be none.
  virtual void no_server(telemetry::RequestFlag flag, std::string_view details) = 0;

  virtual void server_response(http::Response& response) = 0;
  virtual void server_data(std::string_view bytes) = 0;
  virtual void server_end(const http::Fields* trailers) = 0;
  virtual void server_writable() = 0;
  // The stream is over, and the upstream has forgotten it.
  virtual void server_gone(telemetry::RequestFlag flag, std::string_view details, Reached reached) = 0;

  // The accepted connection for which it is.
  [[nodiscard]] virtual std::uint64_t carried() const = 0;
  // ... and what is known of it; null where nothing needs a tunnel.
  [[nodiscard]] virtual const Record* for_whom() const { return nullptr; }
};

}  // namespace underpass::session
