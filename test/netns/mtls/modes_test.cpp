// SPDX-License-Identifier: Apache-2.0
// Plain or through a tunnel: what PeerAuthentication asks for, what who is outside the mesh may, and what a gateway in
// front makes of it.
#include <doctest/doctest.h>

#include <boost/json.hpp>

#include "test/netns/mtls/scene.h"

namespace underpass::test {
namespace {

const std::string kWords = "said on the way. ";

std::string talk(const TwoNodes& nodes, const char* client, const char* server, int family) {
  return dial_and_talk(nodes.at(client), nodes.at(server), family, kWords);
}

bool comes_to_pass(const TwoNodes& nodes, const char* client, int family) {
  return eventually(seconds(20), [&] { return talk(nodes, client, "server", family).empty(); });
}
bool comes_to_fail(const TwoNodes& nodes, const char* client, int family) {
  return eventually(seconds(20), [&] { return !talk(nodes, client, "server", family).empty(); });
}

}  // namespace

TEST_CASE("mtls: STRICT refuses who has no certificate, PERMISSIVE lets it in; the mesh's own pass either way") {
  const TwoNodes nodes;
  for (const int family : kFamilies) {
    CAPTURE(family);
    nodes.put_authentication("", R"("mtls": {"mode": "STRICT"})");
    CHECK_MESSAGE(comes_to_fail(nodes, "out", family), nodes.logs());
    CHECK(!talk(nodes, "far", "server", family).empty());  // of the same node
    CHECK_MESSAGE(talk(nodes, "client", "server", family).empty(), nodes.logs());
    nodes.put_authentication("", R"("mtls": {"mode": "PERMISSIVE"})");
    CHECK_MESSAGE(comes_to_pass(nodes, "out", family), nodes.logs());
    CHECK(talk(nodes, "client", "server", family).empty());
  }
}

TEST_CASE("mtls: a port whose mode is DISABLE is plain, and only that one") {
  const TwoNodes nodes;
  const auto talk_at = [&](std::uint16_t port, int family) {
    Capture capture(nodes.one.net.bridge_netns(), nodes.wire);
    const UniqueFd listener = listen_at(nodes.at("server"), family, {}, port);
    const UniqueFd client = connect_from(nodes.at("client"), local_address(listener.get()));
    send_all(client.get(), kWords);
    const UniqueFd server = accept_from(listener.get());
    CHECK(receive_exactly(server.get(), kWords.size()) == kWords);
    return capture.has(kWords) ? "plain" : "hidden";
  };
  CHECK(std::string(talk_at(9000, AF_INET)) == "hidden");
  nodes.put_authentication("server", R"("mtls": {"mode": "STRICT"}, "portLevelMtls": {"9000": {"mode": "DISABLE"}})");
  for (const int family : kFamilies) {
    CAPTURE(family);
    CHECK_MESSAGE(eventually(seconds(20), [&] { return std::string(talk_at(9000, family)) == "plain"; }), nodes.logs());
    CHECK(std::string(talk_at(9001, family)) == "hidden");
  }
  nodes.put_authentication("server", R"("mtls": {"mode": "STRICT"})");
  CHECK_MESSAGE(eventually(seconds(20), [&] { return std::string(talk_at(9000, AF_INET)) == "hidden"; }), nodes.logs());
}

TEST_CASE("mtls: pods of one node speak plainly to each other, unless local-mtls is required") {
  TwoNodes nodes;
  nodes.add(nodes.one, "shop", "neighbour");
  nodes.add(nodes.one, "shop", "wary", {.annotations = {{"underpass.dev/local-mtls", "required"}}});
  for (const char* pod : {"neighbour", "wary"}) nodes.wait_tunnels(nodes.one, pod);
  nodes.wait_remote(nodes.one, "wary");
  const auto tunnel_to = [&](const char* server, int family) -> std::string {
    const Pair pair = [&] {
      const UniqueFd listener = listen_at(nodes.at(server), family);
      Pair out;
      out.client = connect_from(nodes.at("client"), local_address(listener.get()));
      send_all(out.client.get(), "x");
      out.server = accept_from(listener.get());
      return out;
    }();
    CHECK(receive_exactly(pair.server.get(), 1) == "x");
    for (const auto& row : nodes.one.ctl.json({"connections"}).as_array())
      if (text_of(row.at("destination").at("pod")) == server &&
          row.at("source").at("port").to_number<int>() == local_address(pair.client.get()).port())
        return text_of(row.at("tunnel"));
    return "unknown";
  };
  for (const int family : kFamilies) {
    CAPTURE(family);
    CHECK(tunnel_to("neighbour", family) == "none");
    CHECK_MESSAGE(tunnel_to("wary", family) == "hbone", nodes.logs());
  }
}

TEST_CASE("mtls: an enrolled gateway reaches STRICT and PERMISSIVE pods, one outside the mesh PERMISSIVE ones") {
  TwoNodes nodes;
  nodes.add(nodes.one, "shop", "gateway");
  nodes.add(nodes.one, "elsewhere", "outside-gateway");
  nodes.wait_tunnels(nodes.one, "gateway");
  const Process web = start_web(nodes.at("server"), nodes.folder("web"));
  const Process inside = start_gateway(nodes.at("gateway"), nodes.at("server"), nodes.folder("inside"));
  const Process outside = start_gateway(nodes.at("outside-gateway"), nodes.at("server"), nodes.folder("outside"));
  const auto ask = [&](const char* gateway) {
    return curl_at(nodes.at("out"), url_of(nodes.at(gateway), AF_INET, kWebPort));
  };
  const std::string good = std::string(kWebSays) + "(200)";
  nodes.put_authentication("server", R"("mtls": {"mode": "STRICT"})");
  CHECK_MESSAGE(eventually(seconds(20), [&] { return ask("outside-gateway").ends_with("(503)"); }), nodes.logs());
  CHECK_MESSAGE(ask("gateway") == good, nodes.logs());
  nodes.put_authentication("server", R"("mtls": {"mode": "PERMISSIVE"})");
  CHECK_MESSAGE(eventually(seconds(20), [&] { return ask("outside-gateway") == good; }), nodes.logs());
  Capture capture(nodes.one.net.bridge_netns(), nodes.wire);
  CHECK(ask("gateway") == good);
  CHECK(!capture.has(kWebSays));  // an enrolled client speaks so even where it need not
  CHECK(ask("outside-gateway") == good);
  CHECK(capture.has(kWebSays));
}

}  // namespace underpass::test
