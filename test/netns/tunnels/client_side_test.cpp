// SPDX-License-Identifier: Apache-2.0
// What a pod dials of a pod of another node: it goes to the worker, and from there through a tunnel, and never plainly.
#include <doctest/doctest.h>

#include <string>

#include "test/netns/tunnels/scene.h"

namespace underpass::test {
namespace {

constexpr const char* kWell = "announced=ok connected=ok";
constexpr const char* kElsewhere = "announced=ok connected=EPERM";

Dial tunnel_to(const std::string& ip) { return {.ip = ip, .port = UP_TUNNEL_PORT}; }

TEST_CASE("tunnels: what goes to another node's pod is the worker's, which may dial that pod's port of tunnels") {
  const TunnelScene scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd application = listen_at(scene.at("far"), family);
    const UniqueFd tunnels = listen_at(scene.at("far"), family, {}, UP_TUNNEL_PORT);
    const Address to = local_address(application.get());
    const Dialogue talk(scene.at("a"), to);
    const Address client = local_address(talk.fd());
    // The application sees what it dialled, and its own address.
    CHECK(peer_of(talk.fd()).to_string() == to.to_string());
    CHECK(ip_of(client) == scene.at("a").ip(family));
    CHECK(talk.ask("known") == "outbound from " + ip_of(client) + " " + std::to_string(client.port()) + " to " +
                                   ip_of(to) + " " + std::to_string(to.port()) +
                                   " shop/far tunnel hbone of an account attested");

    CHECK(talk.ask(tunnel_to(ip_of(to)).to_string()) == kWell);
    const UniqueFd tunnel = accept_from(tunnels.get());
    CHECK(ip_of(peer_of(tunnel.get())) == scene.at("a").ip(family));
    CHECK_FALSE(readable(application.get(), milliseconds(0)));

    const auto row = scene.told(client);
    CHECK(text_of(row.at("way")) == "proxied");
    CHECK(text_of(row.at("tunnel")) == "hbone");
    const auto& destination = row.at("destination").as_object();
    CHECK(text_of(destination.at("pod")) == "far");
    CHECK(text_of(destination.at("identity")) == "spiffe://cluster.local/ns/shop/sa/far");
    // The tunnel is nobody's connection.
    for (const auto& connection : scene.ctl.connections()) CHECK(connection.id == std::to_string(talk.id()));
  }
}

TEST_CASE("tunnels: a worker gets nowhere else, and not plainly") {
  const TunnelScene scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd application = listen_at(scene.at("far"), family);
    const UniqueFd of_out = listen_at(scene.at("out"), family, {}, UP_TUNNEL_PORT);
    const UniqueFd of_b = listen_at(scene.at("b"), family, {}, UP_TUNNEL_PORT);
    const UniqueFd other = listen_at(scene.at("far"), family);
    const Dialogue talk(scene.at("a"), local_address(application.get()));
    for (const char* how : {"connect", "fastopen", "sendmsg"})
      for (const UniqueFd* where : {&application, &of_out, &of_b, &other}) {
        CAPTURE(how);
        Dial dial = dial_to(local_address(where->get()));
        CAPTURE(dial.ip);
        dial.how = how;
        CHECK(talk.ask(dial.to_string()) == kElsewhere);
      }
    // For what it carries nobody else is the client.
    Dial dial = tunnel_to(ip_of(local_address(application.get())));
    dial.client = scene.at("b").ip(family) + " 4000";
    CHECK(talk.ask(dial.to_string()).starts_with("announced=ok claimed=EPERM"));
    for (const UniqueFd* where : {&application, &of_out, &of_b, &other})
      CHECK_FALSE(readable(where->get(), milliseconds(0)));
  }
}

TEST_CASE("tunnels: everything else goes as if there were none") {
  const TunnelScene scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    CHECK(way_of_new_connection(scene, scene.at("a"), scene.at("b"), family) == "direct");
    CHECK(way_of_new_connection(scene, scene.at("a"), scene.at("out"), family) == "direct");
    CHECK(way_of_new_connection(scene, scene.at("a"), scene.at("a"), family) == "direct");
  }
  // What comes from the other node, not through a tunnel.
  const Pair pair = make_pair_between(scene.at("far"), scene.at("a"), AF_INET);
  exchange(pair.client.get(), pair.server.get(), 2);
}

TEST_CASE("tunnels: PeerAuthentication DISABLE and excluded ports are plain, at those ports alone") {
  const TunnelScene scene;
  const UniqueFd disabled = listen_at(scene.at("far"), AF_INET), excluded = listen_at(scene.at("far"), AF_INET),
                 other = listen_at(scene.at("far"), AF_INET);
  const auto disable = local_address(disabled.get()).port(), exclude = local_address(excluded.get()).port();
  scene.put_peer_authentication("far", "{selector: {matchLabels: {app: far}}, portLevelMtls: {" +
                                           std::to_string(disable) + ": {mode: DISABLE}}}");
  scene.put_far({{"underpass.dev/exclude-inbound-ports", std::to_string(exclude)}});
  for (const auto port : {disable, exclude}) scene.wait_remote(scene.at("far").v4, port, UP_TUNNEL_NONE);
  for (const UniqueFd* listener : {&disabled, &excluded}) {
    const UniqueFd client = connect_from(scene.at("a"), local_address(listener->get()));
    const UniqueFd server = accept_from(listener->get());
    exchange(client.get(), server.get(), 2);
    const auto row = scene.told(local_address(client.get()));
    CHECK(text_of(row.at("way")) == "direct");
    CHECK(text_of(row.at("tunnel")) == "none");
    CHECK(text_of(row.at("destination").at("pod")) == "far");
    CHECK(text_of(row.at("destination").at("identity")).empty());  // an address proves nothing
  }
  const Dialogue talk(scene.at("a"), local_address(other.get()));
  CHECK(talk.ask("known").contains("tunnel hbone"));
}

TEST_CASE("tunnels: what a pod keeps out of the mesh stays plain") {
  const TunnelScene scene;
  const UniqueFd listener = listen_at(scene.at("far"), AF_INET);
  auto object = scene.pod_object("shop", "a");
  object.annotations["underpass.dev/exclude-outbound-ports"] = std::to_string(local_address(listener.get()).port());
  scene.objects.put(object);
  REQUIRE(eventually(seconds(10), [&] { return scene.pinned.pod(scene.net.cookie("a"))->excludes == 1; }));
  const UniqueFd client = connect_from(scene.at("a"), local_address(listener.get()));
  const UniqueFd server = accept_from(listener.get());
  exchange(client.get(), server.get(), 2);
}

TEST_CASE("tunnels: without a worker it is refused, and nothing else is") {
  TunnelScene scene;
  scene.end_worker();
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd application = listen_at(scene.at("far"), family);
    const UniqueFd tunnels = listen_at(scene.at("far"), family, {}, UP_TUNNEL_PORT);
    CHECK(is_refused_at(scene.at("a"), local_address(application.get())));
    CHECK(is_refused_at(scene.at("a"), local_address(tunnels.get())));
    // Nor from a socket that no way leads to a worker from.
    const auto bound = [&] {
      return connect_from(scene.at("a"), local_address(application.get()),
                          [](int fd) { REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) == 0); });
    };
    CHECK_THROWS((void)bound());
    CHECK_FALSE(readable(application.get(), milliseconds(0)));
    CHECK_FALSE(readable(tunnels.get(), milliseconds(0)));
    const Pair pair = make_pair_between(scene.at("a"), scene.at("b"), family);
    exchange(pair.client.get(), pair.server.get(), 2);
  }
  scene.agent.start();
  scene.wait_in_hands("a");
  CHECK(eventually(seconds(10), [&] {
    const UniqueFd application = listen_at(scene.at("far"), AF_INET);
    return !is_refused_at(scene.at("a"), local_address(application.get()));
  }));
}

TEST_CASE("tunnels: a refusal for want of a worker is counted, and told") {
  TunnelScene scene;
  const UniqueFd application = listen_at(scene.at("far"), AF_INET);
  CHECK_THROWS((void)connect_from(scene.at("a"), local_address(application.get()), [](int fd) {
    REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) == 0);
  }));
  CHECK(eventually(seconds(10), [&] { return scene.ctl.run({"flows"}).out.contains("no worker"); }));
  CHECK(eventually(seconds(10), [&] { return scene.agent.log().contains("denied policy=\"no worker\""); }));
}

TEST_CASE("tunnels: local-mtls: a pod of this node is reached so too, and by itself as ever") {
  const TunnelScene scene;
  auto object = scene.pod_object("shop", "b");
  object.annotations["underpass.dev/local-mtls"] = "required";
  scene.objects.put(object);
  for (const std::string& ip : {scene.at("b").v4, scene.at("b").v6}) scene.wait_remote(ip, 0, UP_TUNNEL_HBONE);
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd application = listen_at(scene.at("b"), family);
    const Dialogue talk(scene.at("a"), local_address(application.get()));
    CHECK(talk.ask("known").contains(" shop/b tunnel hbone of an account attested"));
    CHECK(talk.ask(dial_to(local_address(application.get())).to_string()) == kElsewhere);
    CHECK(talk.ask(tunnel_to(scene.at("b").ip(family)).to_string()) == kWell);
    CHECK_FALSE(readable(application.get(), milliseconds(0)));
    CHECK(way_of_new_connection(scene, scene.at("b"), scene.at("b"), family) == "direct");
    // Both pods are of this node: the client's record tells of both.
    const auto row = scene.told(local_address(talk.fd()));
    CHECK(text_of(row.at("tunnel")) == "hbone");
    CHECK(text_of(row.at("destination").at("pod")) == "b");
    CHECK(scene.ctl.connections().size() == 1);
  }
}

}  // namespace
}  // namespace underpass::test
