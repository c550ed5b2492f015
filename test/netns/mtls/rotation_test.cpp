// SPDX-License-Identifier: Apache-2.0
// Certificates that change under traffic, agents and workers that are killed, an authority's folder that is lost: what
// goes on, what does not, and that it comes back by itself.
#include <doctest/doctest.h>
#include <signal.h>

#include <set>
#include <sstream>

#include "test/netns/mtls/scene.h"
#include "test/support/hbone_client.h"

namespace underpass::test {
namespace {

const TwoNodes::Options kShortLived{.more = {"--certificate-lifetime", "8s"}};

// wrk in the client's pod, a new connection for each request or not.
class Requests {
 public:
  Requests(const TwoNodes& nodes, int for_seconds, bool kept_alive)
      : process_({.argv = argv(nodes, for_seconds, kept_alive),
                  .netns = nodes.at("client").netns,
                  .cgroup = nodes.at("client").cgroup}) {}

  [[nodiscard]] bool running() { return process_.running(); }
  // How many were answered; throws when one was not.
  std::size_t end() {
    const auto exit = process_.wait(seconds(90));
    const std::string out = process_.out();
    if (!exit || !exit->ok() || out.contains("Socket errors") || out.contains("Non-2xx"))
      throw std::runtime_error("wrk: " + out + process_.err());
    std::istringstream words(out.substr(out.find("Latency")));
    std::size_t count = 0;
    for (std::string line; std::getline(words, line);)
      if (line.contains(" requests in ")) count = std::stoull(line);
    return count;
  }

 private:
  static std::vector<std::string> argv(const TwoNodes& nodes, int for_seconds, bool kept_alive) {
    std::vector<std::string> out{"wrk", "-t1", "-c4", "-d" + std::to_string(for_seconds) + "s", "--timeout", "10s"};
    if (!kept_alive) out.insert(out.end(), {"-H", "Connection: close"});
    out.push_back(url_of(nodes.at("server"), AF_INET, kWebPort));
    return out;
  }

  Process process_;
};

// The serial number that the server's pod shows.
std::string serial(const TwoNodes& nodes, const TlsManners& manners) {
  try {
    return HboneClient(nodes.at("out"), nodes.at("server"), manners).wire->tls().peer_serial();
  } catch (const std::exception&) {
    return "";
  }
}

bool answers(const TwoNodes& nodes) {
  return curl_at(nodes.at("client"), url_of(nodes.at("server"), AF_INET, kWebPort)) == std::string(kWebSays) + "(200)";
}

}  // namespace

TEST_CASE("mtls: 10,000 requests while certificates and once the authority change, and none fails") {
  const TwoNodes nodes(kShortLived);
  const Process web = start_web(nodes.at("server"), nodes.folder("web"));
  REQUIRE_MESSAGE(answers(nodes), nodes.logs());
  const TestCa next;
  TlsManners both = nodes.as("shop", "client");
  both.roots += next.root();
  Requests kept(nodes, 40, true);
  Requests fresh(nodes, 40, false);
  const UniqueFd listener = listen_at(nodes.at("server"), AF_INET);
  const UniqueFd standing = connect_from(nodes.at("client"), local_address(listener.get()));
  send_all(standing.get(), "a");
  const UniqueFd served = accept_from(listener.get());
  std::set<std::string> serials;
  const auto see = [&](std::size_t wanted) {
    return eventually(seconds(30), [&] {
      if (const std::string one = serial(nodes, both); !one.empty()) serials.insert(one);
      return serials.size() >= wanted;
    });
  };
  CHECK_MESSAGE(see(2), nodes.logs());
  // As an operator does it: whom to trust first, then who signs, at last whom to trust no more.
  nodes.ca.write_cacerts(nodes.ca_dir, next.root());
  CHECK_MESSAGE(see(4), nodes.logs());
  next.write_cacerts(nodes.ca_dir, nodes.ca.root());
  both.svid = next.svid("shop", "client");
  TlsManners new_alone = both;
  new_alone.roots = next.root();
  CHECK_MESSAGE(eventually(seconds(30), [&] { return !serial(nodes, new_alone).empty(); }), nodes.logs());
  const std::size_t count = kept.end() + fresh.end();
  CHECK(count >= 10000);
  send_all(standing.get(), "still");
  CHECK(receive_exactly(served.get(), 6) == "astill");
  next.write_cacerts(nodes.ca_dir);
  CHECK(eventually(seconds(30), [&] {
    return how_it_is_met(nodes.at("out"), nodes.at("server"),
                         {.svid = nodes.ca.svid("shop", "client"), .roots = next.root()}) != "open";
  }));
  CHECK(answers(nodes));
}

TEST_CASE("mtls: an agent is killed under traffic, and nothing is lost") {
  TwoNodes nodes;
  const Process web = start_web(nodes.at("server"), nodes.folder("web"));
  REQUIRE_MESSAGE(answers(nodes), nodes.logs());
  Requests load(nodes, 6, true);
  const UniqueFd listener = listen_at(nodes.at("server"), AF_INET);
  const UniqueFd standing = connect_from(nodes.at("client"), local_address(listener.get()));
  send_all(standing.get(), "a");
  const UniqueFd served = accept_from(listener.get());
  for (TwoNodes::Node* node : {&nodes.one, &nodes.two}) {
    CAPTURE(node->name);
    node->agent.kill9();
    CHECK_MESSAGE(answers(nodes), nodes.logs());
    node->agent.start();
    CHECK_MESSAGE(answers(nodes), nodes.logs());
  }
  CHECK(load.end() > 0);
  send_all(standing.get(), "still");
  CHECK(receive_exactly(served.get(), 6) == "astill");
}

TEST_CASE(
    "mtls: a worker is killed: what was in its hands ends, and the next one is there with the pods' certificates") {
  const TwoNodes nodes;
  const Process web = start_web(nodes.at("server"), nodes.folder("web"));
  REQUIRE_MESSAGE(answers(nodes), nodes.logs());
  nodes.put_authentication("", R"("mtls": {"mode": "STRICT"})");
  Capture capture(nodes.one.net.bridge_netns(), nodes.wire);
  for (const TwoNodes::Node* node : {&nodes.one, &nodes.two}) {
    CAPTURE(node->name);
    const auto pids = nodes.workers(*node, "shop");
    REQUIRE(pids.size() == 1);
    const UniqueFd listener = listen_at(nodes.at("server"), AF_INET);
    const UniqueFd standing = connect_from(nodes.at("client"), local_address(listener.get()));
    send_all(standing.get(), "a");
    const UniqueFd served = accept_from(listener.get());
    CHECK(receive_exactly(served.get(), 1) == "a");
    CHECK(::kill(pids.front(), SIGKILL) == 0);
    for (const int fd : {standing.get(), served.get()}) {
      char byte = 0;
      CHECK(readable(fd, seconds(20)));
      CHECK(::recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
    }
    CHECK_MESSAGE(eventually(seconds(20), [&] { return answers(nodes); }), nodes.logs());
  }
  CHECK(!capture.has(kWebSays));
}

TEST_CASE("mtls: the authority's folder is lost: what there is stays in force, one is told, and it comes back") {
  const TwoNodes nodes(kShortLived);
  const Process web = start_web(nodes.at("server"), nodes.folder("web"));
  REQUIRE_MESSAGE(answers(nodes), nodes.logs());
  nodes.put_authentication("", R"("mtls": {"mode": "STRICT"})");
  std::filesystem::remove(nodes.ca_dir / "ca-key.pem");
  Capture capture(nodes.one.net.bridge_netns(), nodes.wire);
  // Certificates run out, and then nobody speaks: never plainly.
  CHECK_MESSAGE(eventually(seconds(40), [&] { return !answers(nodes); }), nodes.logs());
  for (const TwoNodes::Node* node : {&nodes.one, &nodes.two})
    CHECK_MESSAGE(node->agent.log().contains(nodes.ca_dir.string()), node->agent.log());
  nodes.ca.write_cacerts(nodes.ca_dir);
  CHECK_MESSAGE(eventually(seconds(40), [&] { return answers(nodes); }), nodes.logs());
  CHECK(!capture.has(kWebSays));
}

TEST_CASE("mtls: two agents that start at once in an empty folder make one authority") {
  const TwoNodes nodes({.own_ca = true});
  for (const int family : kFamilies)
    CHECK_MESSAGE(dial_and_talk(nodes.at("client"), nodes.at("server"), family).empty(), nodes.logs());
  for (const TwoNodes::Node* node : {&nodes.one, &nodes.two}) {
    const auto certs = node->ctl.run({"certs"});
    CHECK(certs.exit.ok());
    CHECK_MESSAGE(certs.out.contains("spiffe://cluster.local/ns/shop/sa/"), certs.out);
    CHECK(!node->ctl.run({"certs", "-o", "pem"}).out.contains("PRIVATE KEY"));
  }
}

}  // namespace underpass::test
