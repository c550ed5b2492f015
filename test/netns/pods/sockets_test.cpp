// SPDX-License-Identifier: Apache-2.0
// Which sockets of a pod the agent sees when it looks for those that it has to end.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

#include "agent/dataplane/sock_list.h"
#include "test/netns/pods/scene.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

// The sockets in `place` whose other end is that of the client.
int ends_of(const UniqueFd& client, const Place& place) {
  const UniqueFd netns(::open(place.netns.c_str(), O_RDONLY | O_CLOEXEC));
  const auto sockets = dataplane::list_tcp_sockets(netns.get());
  REQUIRE_MESSAGE(sockets, sockets.error().message);
  const auto name = local_address(client.get()).to_string();
  return static_cast<int>(std::ranges::count_if(*sockets, [&](const dataplane::TcpSocket& socket) {
    return Address::of(IpAddress(socket.remote.addr).to_string(), ntohs(socket.remote.port)).to_string() == name;
  }));
}

TEST_CASE("sockets of a pod: a connection that its server has not got yet is none to be ended") {
  // To end it would say nothing to its client, who thinks that it is connected.
  Node node;
  const auto& server = node.net.add("server");
  const auto& client = node.net.add("client");
  for (const int family : {AF_INET, AF_INET6}) {
    const UniqueFd listener =
        listen_at(server, family, [](int fd) { set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5); });
    const UniqueFd fd = connect_from(client, local_address(listener.get()));
    CHECK(ends_of(fd, server) == 0);
    CHECK(::send(fd.get(), "x", 1, 0) == 1);
    const UniqueFd accepted = accept_from(listener.get());
    CHECK(ends_of(fd, server) == 1);
  }
}

}  // namespace
}  // namespace underpass::test
