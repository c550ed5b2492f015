// SPDX-License-Identifier: Apache-2.0
// A policy that comes cuts the connections that its worker has no part in; one that goes lets everybody go direct.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>

#include <string>

#include "test/netns/decided/scene.h"
#include "test/netns/policy/forger.h"

namespace underpass::test {
namespace {

// Its listener stays: by that a connection without a record is known for one that came in.
struct Live {
  UniqueFd listener, client, server;
};

Live connect_to_b(const Decided& scene, const Place& from, int family) {
  Live out{.listener = listen_at(scene.at("b"), family), .client = {}, .server = {}};
  out.client = connect_from(from, local_address(out.listener.get()));
  out.server = ask(out.client.get(), out.listener.get());
  return out;
}

void wait_undecided(const Decided& scene) {
  REQUIRE(eventually(seconds(10), [&] { return scene.capture_of("b") == 0 && !scene.has_worker("b"); }));
}

TEST_CASE("decided: live direct connections are cut when the policy comes, and go direct again when it has gone") {
  const Decided scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    scene.remove_policy();
    wait_undecided(scene);
    for (const char* from : {"a", "out"}) CHECK(scene.way(scene.at(from), scene.at("b"), family) == "direct");
    CHECK(scene.way(scene.host(), scene.at("b"), family) == "direct");
    const Live of_a = connect_to_b(scene, scene.at("a"), family), of_out = connect_to_b(scene, scene.at("out"), family);
    const Live of_host = connect_to_b(scene, scene.host(), family), own = connect_to_b(scene, scene.at("b"), family);
    const Live led = connect_to_b(scene, scene.at("c"), family);  // through the worker of "bank" alone
    scene.put_policy(allow_get());
    for (const Live* live : {&of_a, &of_out, &of_host}) {
      CHECK(ends_with_error(live->client.get()));
      CHECK(ends_with_error(live->server.get()));
    }
    CHECK(ends_with_error(led.server.get()));  // its client has a worker, which asks anew
    scene.wait_decided();
    ask_again(own.client.get(), own.server.get());
    const Live later = connect_to_b(scene, scene.at("a"), family);
    // Another policy judges everybody anew: who is in the worker's hands stays.
    scene.objects.put_text("more.yaml", policy_of("more", R"({"action": "DENY", "rules": [{"to": [{"operation": )"
                                                          R"({"ports": ["1"]}}]}]})"));
    const auto set = scene.pinned.pod(scene.net.cookie("b"))->policy;
    REQUIRE(eventually(seconds(10), [&] { return scene.pinned.pod(scene.net.cookie("b"))->policy != set; }));
    ask_again(later.client.get(), later.server.get());
    ask_again(own.client.get(), own.server.get());
    scene.objects.remove_text("more.yaml");
  }
}

TEST_CASE("decided: an agent that finds no pins cuts what was there without a worker") {
  Decided scene;
  scene.remove_policy();
  wait_undecided(scene);
  REQUIRE(scene.ctl.run({"detach", "--node"}).exit.ok());
  scene.agent.stop();
  for (const int family : kFamilies) {
    CAPTURE(family);
    const Live direct = connect_to_b(scene, scene.at("out"), family);
    const Live of_a = connect_to_b(scene, scene.at("a"), family);
    scene.put_policy(allow_get());
    scene.agent.launch();
    REQUIRE(eventually(seconds(15), [&] { return scene.ctl.run({"attach"}).exit.ok(); }));
    for (const Live* live : {&direct, &of_a}) {
      CHECK(ends_with_error(live->client.get(), seconds(15)));
      CHECK(ends_with_error(live->server.get()));
    }
    scene.wait_decided();
    CHECK(scene.way(scene.at("out"), scene.at("b"), family) == "proxied");
    scene.remove_policy();
    wait_undecided(scene);
    REQUIRE(scene.ctl.run({"detach", "--node"}).exit.ok());
    scene.agent.stop();
  }
}

// Its SYN was answered when there was no door, and the agent that would cut it is dead when it comes in.
TEST_CASE("decided: a handshake that began before the policy came ends, and nothing passes") {
  Decided scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    scene.remove_policy();
    wait_undecided(scene);
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const auto stranger_at = [&](std::uint16_t port) {
      return Address::of(family == AF_INET ? "10.77.0.250" : "fd00:77::250", port);
    };
    {
      Forger before(scene.at("out"), scene.at("b"), stranger_at(40000), local_address(listener.get()));
      REQUIRE(before.connect());
      const UniqueFd server = accept_from(listener.get());
      before.send("hello");
      CHECK(receive_exactly(server.get(), 5) == "hello");
      before.reset();
    }
    Forger stranger(scene.at("out"), scene.at("b"), stranger_at(40001), local_address(listener.get()));
    REQUIRE(stranger.syn());
    scene.put_policy(allow_get());
    scene.wait_decided();
    scene.agent.kill9();
    stranger.acknowledge();
    const UniqueFd server = accept_from(listener.get());
    stranger.send("GET / HTTP/1.1\r\n\r\n");
    (void)::send(server.get(), "secret", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
    CHECK_FALSE(readable(server.get(), seconds(1)));
    CHECK(stranger.payload().empty());
    scene.agent.start();
    CHECK(ends_with_error(server.get()));
  }
}

}  // namespace
}  // namespace underpass::test
