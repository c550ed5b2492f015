// SPDX-License-Identifier: Apache-2.0
#include "test/bench/stream.h"

#include <sys/socket.h>

#include <array>
#include <utility>

#include "test/bench/transfer.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::bench {

UniqueFd listen_here(const Pair& pair) {
  const test::Place here{.netns = "", .v4 = pair.host, .v6 = pair.host};
  return test::listen_at(here, pair.address(0).family(), {}, pair.port);
}

// The ends of a unix socketpair, made before the processes that inherit them; both empty for TCP.
struct Stream::Ends {
  UniqueFd client;
  UniqueFd server;

  static Ends of(const Pair& pair) {
    if (!pair.host.empty()) return {};
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) test::throw_errno("socketpair");
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
  }
};

Child Stream::start_server(const Pair& pair, const Body& body, Ends& ends) {
  return Child(pair.server, [&](Channel& parent) {
    ends.client.reset();
    if (pair.host.empty()) return body(ends.server, parent);
    const UniqueFd listener = listen_here(pair);
    parent.send({static_cast<double>(test::local_address(listener.get()).port())});
    const UniqueFd socket = accept_one(listener);
    set_nodelay(socket);
    body(socket, parent);
  });
}

Child Stream::start_client(const Pair& pair, const Body& body, Ends& ends, std::uint16_t port) {
  return Child(pair.client, [&](Channel& parent) {
    ends.server.reset();
    if (pair.host.empty()) return body(ends.client, parent);
    const UniqueFd socket = test::connect_from({}, pair.address(port));
    set_nodelay(socket);
    body(socket, parent);
  });
}

Stream::Stream(const Pair& pair, const Body& client, const Body& server)
    : Stream(pair, client, server, Ends::of(pair)) {}

Stream::Stream(const Pair& pair, const Body& client, const Body& server, Ends ends)
    : server_(start_server(pair, server, ends)),
      port_(pair.host.empty() ? std::uint16_t{0} : static_cast<std::uint16_t>(server_.channel().receive().at(0))),
      client_(start_client(pair, client, ends, port_)) {}

}  // namespace underpass::bench
