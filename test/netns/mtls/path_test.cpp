// SPDX-License-Identifier: Apache-2.0
// From a pod of one node to a pod of another: bytes arrive, nobody between the two can read them, and everybody who is
// to know says who spoke with whom.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <sstream>

#include "test/netns/mtls/scene.h"

namespace underpass::test {
namespace {

const std::string kWords = "these words are nobody else's. ";

std::string many(const std::string& words) {
  std::string out;
  while (out.size() < (1 << 16)) out += words;
  return out;
}

std::string ip_of(const Address& address) { return address.to_string().substr(0, address.to_string().rfind(':')); }

std::string member(const boost::json::value& line, const char* end, const char* name) {
  return text_of(line.at(end).at(name));
}

void check_ends(const TwoNodes& nodes, const boost::json::value& line, int family) {
  CAPTURE(boost::json::serialize(line));
  CHECK(member(line, "source", "pod") == "client");
  CHECK(member(line, "source", "identity") == nodes.ca.id("shop", "client"));
  CHECK(member(line, "source", "ip") == nodes.at("client").ip(family));
  CHECK(member(line, "destination", "identity") == nodes.ca.id("shop", "server"));
  CHECK(member(line, "destination", "ip") == nodes.at("server").ip(family));
}

// At both nodes, of one over IPv4 and then one over IPv6: the first of each.
std::vector<boost::json::value> check_logged(const TwoNodes& nodes) {
  std::vector<boost::json::value> out;
  for (const auto* node : {&nodes.one, &nodes.two}) {
    CAPTURE(node->name);
    const bool logged = eventually(seconds(10), [&] { return TwoNodes::lines(*node, "server").size() >= 2; });
    REQUIRE_MESSAGE(logged, nodes.logs());
    const auto lines = TwoNodes::lines(*node, "server");
    check_ends(nodes, lines[0], AF_INET);
    check_ends(nodes, lines[1], AF_INET6);
    out.push_back(lines[0]);
  }
  return out;
}

// The record of this connection as that node tells it; null: it does not.
boost::json::value connection_to(const TwoNodes::Node& node, std::uint16_t port) {
  for (const auto& row : node.ctl.json({"connections"}).as_array())
    if (row.at("destination").at("port").to_number<int>() == port) return row;
  return nullptr;
}

// The line of a metric in which all of these stand.
bool has_metric(const std::string& text, const std::string& name, const std::vector<std::string>& parts) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name) &&
        std::ranges::all_of(parts, [&](const std::string& part) { return line.contains(part); }))
      return true;
  return false;
}

void check_counted(const TwoNodes& nodes, const std::string& name) {
  const std::vector<std::string> both{R"(connection_security_policy="mutual_tls")",
                                      "source_principal=\"" + nodes.ca.id("shop", "client") + "\"",
                                      "destination_principal=\"" + nodes.ca.id("shop", "server") + "\""};
  const auto counted = [&](const TwoNodes::Node& node, const char* reporter) {
    auto parts = both;
    parts.push_back("reporter=\"" + std::string(reporter) + "\"");
    return eventually(seconds(10), [&] { return has_metric(nodes.metrics(node), name, parts); });
  };
  CHECK_MESSAGE(counted(nodes.one, "source"), nodes.metrics(nodes.one));
  CHECK_MESSAGE(counted(nodes.two, "destination"), nodes.metrics(nodes.two));
}

}  // namespace

TEST_CASE("mtls: bytes between nodes arrive, are nobody else's, and are told of at both") {
  const TwoNodes nodes;
  const std::string words = many(kWords);
  for (const int family : kFamilies) {
    CAPTURE(family);
    Capture capture(nodes.one.net.bridge_netns(), nodes.wire);
    const UniqueFd listener = listen_at(nodes.at("server"), family);
    const Address address = local_address(listener.get());
    const UniqueFd client = connect_from(nodes.at("client"), address);
    send_all(client.get(), words);
    Address said;
    said.size = sizeof said.storage;
    REQUIRE_MESSAGE(readable(listener.get(), seconds(10)), nodes.logs());
    const UniqueFd server(::accept4(listener.get(), said.get(), &said.size, SOCK_CLOEXEC));
    CHECK(ip_of(said) == ip_of(local_address(client.get())));
    CHECK(receive_exactly(server.get(), words.size()) == words);
    send_all(server.get(), words);
    CHECK(receive_exactly(client.get(), words.size()) == words);
    for (const auto* node : {&nodes.one, &nodes.two}) {
      CAPTURE(node->name);
      const bool told = eventually(seconds(10), [&] {
        const auto row = connection_to(*node, address.port());
        return !row.is_null() && text_of(row.at("tunnel")) == "hbone" && text_of(row.at("way")) == "proxied";
      });
      CHECK_MESSAGE(told, boost::json::serialize(node->ctl.json({"connections"})));
    }
    CHECK(!capture.has(kWords));
    CHECK(!capture.has("ns/shop/sa/"));  // certificates are encrypted in TLS 1.3
    CHECK(capture.bytes() > 2 * words.size());
    CHECK(capture.count_of_port(UP_TUNNEL_PORT) > 10);
    CHECK(capture.count_of_port(address.port()) == 0);
  }
  check_logged(nodes);
  check_counted(nodes, "istio_tcp_connections_opened_total");
}

TEST_CASE("mtls: what is outside the mesh is read between nodes as it ever was") {
  const TwoNodes nodes;
  Capture capture(nodes.one.net.bridge_netns(), nodes.wire);
  for (const int family : kFamilies) CHECK(dial_and_talk(nodes.at("out"), nodes.at("far"), family, kWords).empty());
  CHECK(capture.has(kWords));
  CHECK(capture.count_of_port(UP_TUNNEL_PORT) == 0);
}

TEST_CASE("mtls: half a connection is closed, and the other half goes on") {
  const TwoNodes nodes;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(nodes.at("server"), family);
    const UniqueFd client = connect_from(nodes.at("client"), local_address(listener.get()));
    send_all(client.get(), "a question");
    const UniqueFd server = accept_from(listener.get());
    CHECK(::shutdown(client.get(), SHUT_WR) == 0);
    CHECK(receive_exactly(server.get(), 10) == "a question");
    char byte = 0;
    REQUIRE(readable(server.get(), seconds(10)));
    CHECK(::recv(server.get(), &byte, 1, 0) == 0);
    send_all(server.get(), "an answer");
    CHECK(receive_exactly(client.get(), 9) == "an answer");
  }
}

TEST_CASE("mtls: requests between nodes are nobody else's, and have a line and a count at both") {
  const TwoNodes nodes;
  const Process web = start_web(nodes.at("server"), nodes.folder("web"));
  for (const int family : kFamilies) {
    CAPTURE(family);
    Capture capture(nodes.one.net.bridge_netns(), nodes.wire);
    const std::string answer = curl_at(nodes.at("client"), url_of(nodes.at("server"), family, kWebPort, "/a-path"),
                                       {"-H", "x-secret: open-sesame"});
    CHECK_MESSAGE(answer == std::string(kWebSays) + "(200)", nodes.logs());
    for (const char* text : {"a-path", "open-sesame", kWebSays, "nginx", "GET"}) {
      CAPTURE(text);
      CHECK(!capture.has(text));
    }
    CHECK(capture.count_of_port(UP_TUNNEL_PORT) > 4);
  }
  for (const auto& line : check_logged(nodes)) {
    CHECK(text_of(line.at("path")) == "/a-path");
    CHECK(line.at("code").to_number<int>() == 200);
  }
  check_counted(nodes, "istio_requests_total");
}

}  // namespace underpass::test
