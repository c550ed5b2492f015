// SPDX-License-Identifier: Apache-2.0
// A client of HBONE as tests have one: a tunnel to a pod from any place, with any certificate, well behaved or not.
#pragma once

#include <memory>
#include <string>

#include "test/support/hbone_wire.h"
#include "test/support/pod_net.h"

namespace underpass::test {

class HboneClient {
 public:
  // Dials `server`'s port 15008 of this family. Throws when it is refused, or TLS is.
  HboneClient(const Place& from, const Place& server, const TlsManners& manners, int family = AF_INET,
              bool greets = true);

  // CONNECT to `authority`, "10.77.0.1:80" or "[fd00:77::1]:80", with more headers such as baggage.
  std::int32_t connect(const std::string& authority, const Head& more = {});
  // The answer's status: "200"; empty: the stream or the connection ended without one.
  std::string status(std::int32_t tunnel);
  // Both at once, for a tunnel that is to stand; throws unless it does.
  std::int32_t open(const std::string& authority, const Head& more = {});
  // Sends, and takes as many bytes as it sent.
  std::string echo(std::int32_t tunnel, const std::string& bytes);

  // Whether the server ends the connection within this time, and how: see TlsEnd::why_ended().
  bool is_ended(milliseconds deadline = seconds(10));
  [[nodiscard]] const std::string& why_ended() const { return wire->tls().why_ended(); }

  std::unique_ptr<HboneWire> wire;
};

// What is on the place's port 15008 by these TLS manners, as one word: "open" if HTTP/2 is spoken there, else why not.
std::string how_it_is_met(const Place& from, const Place& server, const TlsManners& manners, int family = AF_INET);

// "10.77.0.1:80" or "[fd00:77::1]:80".
std::string authority_of(const Place& server, std::uint16_t port, int family = AF_INET);

}  // namespace underpass::test
