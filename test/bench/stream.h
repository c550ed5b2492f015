// SPDX-License-Identifier: Apache-2.0
// Two measured processes with one connection between them: TCP between two places, or a unix socketpair.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "test/bench/child.h"
#include "test/bench/transfer.h"
#include "test/support/pod_net.h"

namespace underpass::bench {

// One variant of a row: who talks to whom.
struct Pair {
  std::string variant;  // "direct"
  Place client{};
  Place server{};
  std::string host{};  // the server's address; empty: a unix socketpair
  Wait wait = Wait::kInRecv;
  std::uint16_t port = 0;  // at which the server listens; 0: a free one
  std::string service{};   // of a Service before the server, the address; it has kServicePort

  static constexpr std::uint16_t kServicePort = 80;

  // Where the client dials a server that listens there.
  [[nodiscard]] test::Address address(std::uint16_t listening) const {
    return service.empty() ? test::Address::of(host, listening) : test::Address::of(service, kServicePort);
  }
};

// A listener of the calling process at pair.host.
UniqueFd listen_here(const Pair& pair);

// Called while the connection of a run still stands: where its way is verified.
using WhileOpen = std::function<void(const Pair& pair, std::uint16_t server_port)>;

class Stream {
 public:
  using Body = std::function<void(const UniqueFd& socket, Channel& parent)>;

  Stream(const Pair& pair, const Body& client, const Body& server);

  [[nodiscard]] Channel& client() { return client_.channel(); }
  [[nodiscard]] Channel& server() { return server_.channel(); }
  [[nodiscard]] std::uint16_t port() const { return port_; }  // 0: a unix socketpair

 private:
  struct Ends;
  Stream(const Pair& pair, const Body& client, const Body& server, Ends ends);
  static Child start_server(const Pair& pair, const Body& body, Ends& ends);
  static Child start_client(const Pair& pair, const Body& body, Ends& ends, std::uint16_t port);

  Child server_;
  std::uint16_t port_;
  Child client_;
};

}  // namespace underpass::bench
