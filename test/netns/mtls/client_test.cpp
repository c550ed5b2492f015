// SPDX-License-Identifier: Apache-2.0
// A worker as HBONE's client, against a server written from the protocol that plays a pod of a third node: what it
// says, how it shares tunnels, whom it believes, and what becomes of connections whose tunnel fails.
#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <list>
#include <optional>

#include "test/netns/mtls/scene.h"
#include "test/support/hbone_client.h"
#include "test/support/hbone_server.h"

namespace underpass::test {
namespace {

constexpr std::uint16_t kPort = 7000;  // of the application, which nobody listens on: the server answers itself

struct Ground : TwoNodes {
  Ground() {
    add_foreign("shop", "remote");
    wait_remote(one, "remote");
  }
  [[nodiscard]] TlsManners good() const { return as("shop", "remote"); }
  [[nodiscard]] UniqueFd dial(int family = AF_INET) const {
    return connect_from(at("client"), Address::of(at("remote").ip(family), kPort));
  }
};

// The words come back.
bool echoes(int fd, const std::string& words = "echo") {
  try {
    send_all(fd, words);
    return receive_exactly(fd, words.size(), seconds(5)) == words;
  } catch (const std::exception&) {
    return false;
  }
}

// It ends without a byte.
bool ends(int fd) {
  char byte = 0;
  return readable(fd, seconds(15)) && ::recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

bool comes_through(const Ground& ground) {
  return eventually(seconds(20), [&] {
    try {
      return echoes(ground.dial().get());
    } catch (const std::exception&) {
      return false;
    }
  });
}

void check_heads(const Ground& ground, const HboneServer::Request& request, int family) {
  CHECK(request.field(":method") == "CONNECT");
  CHECK(request.authority() == authority_of(ground.at("remote"), kPort, family));
  CHECK(request.field(":path").empty());
  CHECK(request.field(":scheme").empty());
  CHECK(request.client_uris == std::vector<std::string>{ground.ca.id("shop", "client")});
  CHECK(request.client_ip.contains(ground.at("client").ip(family)));
  CHECK(request.field("forwarded").contains(ground.at("client").ip(family)));
  CHECK(request.field("baggage").contains("k8s.namespace.name=shop"));
  CHECK(request.field("traceparent").starts_with("00-"));
}

}  // namespace

TEST_CASE("mtls: a worker's CONNECT says what ztunnel's says, over v4 and v6") {
  const Ground ground;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const HboneServer server(ground.at("remote"), {.tls = ground.good(), .family = family});
    const UniqueFd fd = ground.dial(family);
    CHECK_MESSAGE(echoes(fd.get()), ground.logs());
    std::string large(3 << 20, 'l');
    CHECK(echoes(fd.get(), large));
    const auto requests = server.requests();
    REQUIRE(requests.size() == 1);
    check_heads(ground, requests[0], family);
  }
}

TEST_CASE("mtls: connections of one pod to one server share a tunnel's connection, and leave one that says GOAWAY") {
  const Ground ground;
  HboneServer server(ground.at("remote"), {.tls = ground.good()});
  std::list<UniqueFd> fds;
  for (int i = 0; i < 50; ++i) {
    fds.push_back(ground.dial());
    REQUIRE_MESSAGE(echoes(fds.back().get()), ground.logs());
  }
  CHECK(server.connections() == 1);
  server.go_away();
  CHECK(eventually(seconds(10), [&] { return comes_through(ground) && server.connections() == 2; }));
  for (const UniqueFd& fd : fds) CHECK(echoes(fd.get(), "drained"));
  server.cut();
  for (const UniqueFd& fd : fds) CHECK(ends(fd.get()));
  CHECK(comes_through(ground));
}

TEST_CASE("mtls: what the server refuses ends the connection, and the next one is asked for anew") {
  const Ground ground;
  HboneServer server(ground.at("remote"), {.tls = ground.good()});
  using Answer = HboneServer::Answer;
  for (const Answer& answer : {Answer{.status = "401"}, Answer{.status = "503"}, Answer{.status = "400"},
                               Answer{.refuse = NGHTTP2_REFUSED_STREAM}, Answer{.refuse = NGHTTP2_CANCEL}}) {
    CAPTURE(answer.status);
    CAPTURE(answer.refuse);
    server.answer_with([answer](const auto&) { return answer; });
    const UniqueFd fd = ground.dial();
    CHECK_MESSAGE(ends(fd.get()), ground.logs());
    server.answer_with([](const auto&) { return Answer{}; });
    CHECK_MESSAGE(comes_through(ground), ground.logs());
  }
  const bool logged = eventually(seconds(10), [&] {
    for (const auto& line : TwoNodes::lines(ground.one, "remote"))
      if (text_of(line.at("flags")) != "-") return true;
    return false;
  });
  CHECK_MESSAGE(logged, ground.logs());
}

TEST_CASE("mtls: a server that never answers a CONNECT does not hold up the others") {
  const Ground ground;
  HboneServer server(ground.at("remote"), {.tls = ground.good()});
  server.answer_with([](const auto&) { return HboneServer::Answer{.status = ""}; });
  const UniqueFd hanging = ground.dial();
  REQUIRE(eventually(seconds(10), [&] { return server.requests().size() == 1; }));
  server.answer_with([](const auto&) { return HboneServer::Answer{}; });
  CHECK_MESSAGE(comes_through(ground), ground.logs());
  CHECK_MESSAGE(ends(hanging.get()), ground.logs());
}

TEST_CASE("mtls: a worker believes no certificate but that of the pod it wants") {
  const Ground ground;
  const std::string id = ground.ca.id("shop", "remote");
  const auto shows = [&](const SvidFields& fields) { return ground.ca.issue(fields); };
  auto rows = wrong_svids(ground.ca, "remote");
  rows.push_back({"another account", ground.ca.svid("shop", "other")});
  rows.push_back({"another namespace", ground.ca.svid("bank", "remote")});
  rows.push_back({"not for servers", shows({.uris = {id}, .server_auth = false})});
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const HboneServer server(ground.at("remote"), {.tls = {.svid = row.svid, .roots = ground.ca.root()}});
    const UniqueFd fd = ground.dial();
    CHECK(ends(fd.get()));
    CHECK(server.requests().empty());
  }
  auto old = ground.good();
  old.highest = TLS1_2_VERSION;
  auto no_h2 = ground.good();
  no_h2.alpn = "http/1.1";
  for (const TlsManners& manners : {old, no_h2}) {
    const HboneServer server(ground.at("remote"), {.tls = manners});
    CHECK(ends(ground.dial().get()));
    CHECK(server.requests().empty());
  }
  const HboneServer server(ground.at("remote"),
                           {.tls = {.svid = shows({.uris = {id}, .rsa = true}), .roots = ground.ca.root()}});
  CHECK_MESSAGE(comes_through(ground), ground.logs());
}

TEST_CASE("mtls: where nobody is at the port of tunnels, there is no plain connection either") {
  const Ground ground;
  const UniqueFd application = listen_at(ground.at("remote"), AF_INET, {}, kPort);
  try {
    const UniqueFd fd = ground.dial();
    CHECK(ends(fd.get()));
  } catch (const std::exception& error) {
    CHECK(std::string(error.what()).contains("refused"));
  }
  CHECK(!readable(application.get(), milliseconds(0)));
}

}  // namespace underpass::test
