// SPDX-License-Identifier: Apache-2.0
// What comes to a pod's port of tunnels: its worker has it, whoever sent it, and may bring it to the pod's
// applications.
#include <doctest/doctest.h>
#include <netinet/tcp.h>

#include <sstream>
#include <string>
#include <vector>

#include "test/netns/tunnels/scene.h"

namespace underpass::test {
namespace {

Address tunnels_of(const Place& place, int family) { return Address::of(place.ip(family), UP_TUNNEL_PORT); }

// As the worker of the other node is told by its peer's: whose connection it is.
Dial brought_to(const Address& to, const std::string& client) {
  Dial out = dial_to(to);
  out.client = client;
  return out;
}

TEST_CASE("tunnels: what comes to the port of tunnels is the worker's, whatever policy says") {
  const TunnelScene scene;
  const auto set = scene.pinned.pod(scene.net.cookie("a"))->policy;
  scene.put_peer_authentication("strict", "{mtls: {mode: STRICT}}");
  REQUIRE(eventually(seconds(10), [&] { return scene.pinned.pod(scene.net.cookie("a"))->policy != set; }));
  for (const int family : kFamilies) {
    CAPTURE(family);
    // An application of the pod that listens there gets none of it.
    const UniqueFd own = listen_at(scene.at("a"), family, {}, UP_TUNNEL_PORT);
    for (const char* from : {"far", "out"}) {
      CAPTURE(from);
      const Dialogue talk(scene.at(from), tunnels_of(scene.at("a"), family));
      const Address client = local_address(talk.fd());
      CHECK(talk.ask("known") == "tunnel from " + ip_of(client) + " " + std::to_string(client.port()) + " to " +
                                     scene.at("a").ip(family) + " " + std::to_string(UP_TUNNEL_PORT) +
                                     " shop/a tunnel none");
    }
    CHECK_FALSE(readable(own.get(), milliseconds(0)));
    const UniqueFd application = listen_at(scene.at("a"), family);
    CHECK_THROWS((void)connect_from(scene.at("out"), local_address(application.get()),
                                    [](int fd) { set_option(fd, IPPROTO_TCP, TCP_SYNCNT, 1); }));
  }
  CHECK(scene.ctl.connections().empty());
}

TEST_CASE("tunnels: the application sees the client that the tunnel brought, STRICT and policy included") {
  const TunnelScene scene;
  scene.put_peer_authentication("strict", "{mtls: {mode: STRICT}}");
  REQUIRE(eventually(seconds(10), [&] { return scene.pinned.pod(scene.net.cookie("a"))->policy != 0; }));
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd application = listen_at(scene.at("a"), family);
    const Address to = local_address(application.get());
    const Dialogue talk(scene.at("far"), tunnels_of(scene.at("a"), family));
    CHECK(talk.ask(brought_to(to, scene.at("far").ip(family) + " 40000").to_string()) ==
          "announced=ok claimed=ok connected=ok");
    const Accepted server = accept_and_hear(application.get());
    const Address client = Address::of(scene.at("far").ip(family), 40000);
    CHECK(server.said.to_string() == client.to_string());
    CHECK(peer_of(server.fd.get()).to_string() == client.to_string());
    CHECK(talk.ask("last send hello") == "ok");
    CHECK(receive_exactly(server.fd.get(), 5) == "hello");

    const auto row = scene.told(client);
    REQUIRE_FALSE(row.empty());
    CHECK(text_of(row.at("way")) == "proxied");
    CHECK(text_of(row.at("tunnel")) == "hbone");
    CHECK(text_of(row.at("source").at("pod")) == "far");
    CHECK(text_of(row.at("source").at("identity")) == "spiffe://cluster.local/ns/shop/sa/far");
    CHECK(text_of(row.at("destination").at("pod")) == "a");
    CHECK(row.at("destination").at("port").to_number<int>() == to.port());
    CHECK(scene.ctl.connections().size() == 1);
  }
}

TEST_CASE("tunnels: what a tunnel brings gets to this pod's applications, and to nobody else") {
  const TunnelScene scene;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd of_b = listen_at(scene.at("b"), family), of_out = listen_at(scene.at("out"), family),
                   of_far = listen_at(scene.at("far"), family),
                   inside = listen_at({.netns = scene.at("a").netns}, family),
                   application = listen_at(scene.at("a"), family);
    std::vector<UniqueFd> meshs;
    for (const int port : {UP_OUTBOUND_PORT, UP_INBOUND_PORT, UP_TUNNEL_PORT})
      meshs.push_back(listen_at(scene.at("a"), family, {}, static_cast<std::uint16_t>(port)));
    const Dialogue talk(scene.at("far"), tunnels_of(scene.at("a"), family));
    const std::string client = scene.at("far").ip(family) + " 40000";
    std::vector<int> forbidden{of_b.get(), of_out.get(), of_far.get(), inside.get()};
    for (const auto& one : meshs) forbidden.push_back(one.get());
    for (const int listener : forbidden)
      for (const char* how : {"connect", "fastopen", "sendmsg"}) {
        Dial dial = brought_to(local_address(listener), client);
        dial.how = how;
        CAPTURE(dial.to_string());
        CHECK(talk.ask(dial.to_string()) == "announced=ok claimed=ok connected=EPERM");
      }
    // In nobody else's name, and not without a tunnel.
    for (const std::string& other : {scene.at("b").ip(family) + " 40000", scene.at("out").ip(family) + " 40000",
                                     scene.at("far").ip(family) + " 0"})
      CHECK(talk.ask(brought_to(local_address(application.get()), other).to_string())
                .starts_with("announced=ok claimed=EPERM"));
    for (const char* carries : {"none", "errand"}) {
      Dial dial = brought_to(local_address(application.get()), client);
      dial.carries = carries;
      CHECK(talk.ask(dial.to_string()).contains("claimed=EPERM connected=EPERM"));
    }
    // Another pod's socket carries nothing of this one's.
    Dial dial = brought_to(local_address(of_b.get()), client);
    dial.netns = std::to_string(scene.net.cookie("b"));
    CHECK(talk.ask(dial.to_string()).contains("connected=EPERM"));
    while (readable(application.get(), milliseconds(0))) (void)accept_from(application.get());
    for (const int listener : forbidden) CHECK_FALSE(readable(listener, milliseconds(0)));
  }
}

TEST_CASE("tunnels: without a worker nothing comes in at the port of tunnels, and everywhere else as ever") {
  TunnelScene scene;
  scene.end_worker();
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd own = listen_at(scene.at("a"), family, {}, UP_TUNNEL_PORT);
    const UniqueFd application = listen_at(scene.at("a"), family);
    CHECK_THROWS((void)connect_from(scene.at("far"), local_address(own.get()),
                                    [](int fd) { set_option(fd, IPPROTO_TCP, TCP_SYNCNT, 1); }));
    CHECK(connect_from(scene.at("far"), local_address(application.get())));
    (void)accept_from(application.get());
    CHECK_FALSE(readable(own.get(), milliseconds(0)));
  }
}

TEST_CASE("tunnels: an application that dials its pod's own listener at loopback gets nobody to carry for it") {
  const TunnelScene scene;
  const UniqueFd client = connect_from({.netns = scene.at("a").netns}, Address::of("127.0.0.1", UP_TUNNEL_PORT));
  send_all(client.get(), "peer\n");
  CHECK(receive_exactly(client.get(), 8) == "unknown\n");
}

TEST_CASE("tunnels: both ends count what went through one as mutual TLS, with the other node's names") {
  const TunnelScene scene;
  const UniqueFd application = listen_at(scene.at("a"), AF_INET), far = listen_at(scene.at("far"), AF_INET);
  const Dialogue talk(scene.at("far"), tunnels_of(scene.at("a"), AF_INET));
  REQUIRE(talk.ask(brought_to(local_address(application.get()), scene.at("far").v4 + " 40000").to_string())
              .ends_with("connected=ok"));
  const UniqueFd served = accept_from(application.get());
  const Dialogue out(scene.at("a"), local_address(far.get()));
  REQUIRE(out.ask("peer").starts_with("id="));
  const std::string address = text_of(scene.ctl.json({"status"}).at("listen").at("metrics"));
  const auto is_counted = [&](const std::string& reporter, const std::string& from, const std::string& to) {
    const std::string metrics = run_ok({.argv = {"curl", "-s", "http://" + address + "/metrics"}});
    std::istringstream lines(metrics);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("istio_tcp_connections_opened_total") && line.contains("reporter=\"" + reporter + "\"") &&
          line.contains("source_principal=\"spiffe://cluster.local/ns/shop/sa/" + from + "\"") &&
          line.contains("destination_principal=\"spiffe://cluster.local/ns/shop/sa/" + to + "\"") &&
          line.contains("connection_security_policy=\"mutual_tls\""))
        return true;
    return false;
  };
  CHECK(eventually(seconds(10), [&] { return is_counted("destination", "far", "default"); }));
  CHECK(eventually(seconds(10), [&] { return is_counted("source", "default", "far"); }));
  const std::string metrics = run_ok({.argv = {"curl", "-s", "http://" + address + "/metrics"}});
  CHECK(metrics.contains("source_app=\"far\""));
  CHECK(metrics.contains("destination_app=\"far\""));
}

}  // namespace
}  // namespace underpass::test
