// SPDX-License-Identifier: Apache-2.0
// The ground of two nodes: nets that are joined, sockets of a node's cgroup, and what is seen on the way.
#include <doctest/doctest.h>

#include "test/support/capture.h"
#include "test/support/process.h"
#include "test/support/sandbox.h"
#include "test/support/sockets.h"

namespace underpass::test {

TEST_CASE("pods of two nets that are joined reach each other, and a capture between sees what they say") {
  PodNet one;
  PodNet two(PodNet::Bridge::kOwnNamespace, 78);
  const std::string device = one.join_with(two);
  const Place client = one.add("client");
  const Place server = two.add("server");
  CHECK(server.v4 == "10.78.0.1");
  Capture capture(one.bridge_netns(), device);
  for (const int family : {AF_INET, AF_INET6}) {
    CAPTURE(family);
    const std::string said = family == AF_INET ? "said over IPv4" : "said over IPv6";
    CHECK(!capture.has(said));
    const Pair pair = make_pair_between(client, server, family);
    send_all(pair.client.get(), said);
    CHECK(receive_exactly(pair.server.get(), said.size()) == said);
    CHECK(capture.has(said));
    CHECK(capture.count_of_port(local_address(pair.server.get()).port()) >= 4);
  }
  CHECK(capture.count_of_port(9) == 0);
  CHECK(capture.bytes() > 0);
}

TEST_CASE("a place's socket is of that place's cgroup") {
  const Sandbox first, second;  // the test itself is in the second's
  PodNet net;
  Place place = net.add("pod");
  place.cgroup = first.cgroup();
  const Place other = net.add("other");
  const auto cgroups_of = [](const Place& of) {
    return run_ok({.argv = {"ss", "-Hlt", "--cgroup"}, .netns = of.netns});
  };
  const UniqueFd inside = listen_at(place, AF_INET);
  const UniqueFd outside = listen_at(other, AF_INET);
  CHECK(cgroups_of(place).contains(first.cgroup().filename().string()));
  CHECK(cgroups_of(other).contains(second.cgroup().filename().string()));
  const UniqueFd dialled = connect_from(place, local_address(outside.get()));
  CHECK(run_ok({.argv = {"ss", "-Ht", "--cgroup"}, .netns = place.netns}).contains(first.cgroup().filename().string()));
  // No process of its making is left there.
  CHECK(run_ok({.argv = {"cat", place.cgroup + "/cgroup.procs"}}).empty());
}

}  // namespace underpass::test
