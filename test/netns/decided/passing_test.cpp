// SPDX-License-Identifier: Apache-2.0
// What goes through the worker of a pod about which it decides, and what does not.
#include <doctest/doctest.h>

#include <string>

#include "test/netns/decided/scene.h"

namespace underpass::test {
namespace {

TEST_CASE("decided: what others dial goes through the pod's worker, whoever dials") {
  const Decided scene;
  CHECK(scene.capture_of("b") == (UP_CAPTURE_INBOUND | UP_CAPTURE_MUST));
  CHECK(scene.capture_of("a") == 0);
  for (const int family : kFamilies) {
    CAPTURE(family);
    for (const char* from : {"a", "out", "c"}) {
      CAPTURE(from);
      CHECK(scene.way(scene.at(from), scene.at("b"), family) == "proxied");
    }
    CHECK(scene.way(scene.host(), scene.at("b"), family) == "proxied");
    // What it dials itself is no worker's, nor is what it dials of itself, by whichever address.
    CHECK(scene.way(scene.at("b"), scene.at("a"), family) == "direct");
    CHECK(scene.way(scene.at("b"), scene.at("b"), family) == "direct");
    CHECK(scene.way(scene.at("b"), {.netns = scene.at("b").netns}, family) == "direct");
    // Nor what comes to a pod that the policy does not select.
    CHECK(scene.way(scene.at("out"), scene.at("a"), family) == "direct");
  }
}

TEST_CASE("decided: a dual-stack socket of the pod is reached over both families, through the worker") {
  const Decided scene;
  const UniqueFd listener = listen_at({.netns = scene.at("b").netns, .v4 = "", .v6 = "::"}, AF_INET6);
  const auto port = local_address(listener.get()).port();
  for (const std::string& ip : {scene.at("b").v4, scene.at("b").v6}) {
    CAPTURE(ip);
    const auto proxied = scene.pinned.stats().connections[UP_WAY_PROXIED];
    const UniqueFd client = connect_from(scene.at("out"), Address::of(ip, port));
    (void)ask(client.get(), listener.get());
    CHECK(scene.pinned.stats().connections[UP_WAY_PROXIED] == proxied + 1);
  }
}

TEST_CASE("decided: a client's own worker in another namespace does not stand in for the server's") {
  for (const int family : kFamilies) {
    CAPTURE(family);
    const Decided scene;
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const UniqueFd client = connect_from(scene.at("c"), local_address(listener.get()));
    (void)ask(client.get(), listener.get());
    scene.kill_for_good("shop");
    send_all(client.get(), "GET / HTTP/1.1\r\nhost: b\r\n\r\n");
    CHECK(receive_exactly(client.get(), 12) == "HTTP/1.1 503");
    for (const char* from : {"c", "a"}) check_refused(scene.at(from), listener.get());
  }
}

}  // namespace
}  // namespace underpass::test
