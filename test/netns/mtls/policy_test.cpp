// SPDX-License-Identifier: Apache-2.0
// What policy decides about peers of another node: by the identity in their certificate and by nothing else that they
// say.
#include <doctest/doctest.h>

#include "test/netns/mtls/scene.h"

namespace underpass::test {
namespace {

std::string from(const std::string& source) { return R"("rules": [{"from": [{"source": {)" + source + R"(}}]}])"; }

// "" or what went wrong, over either family.
std::string talk(const TwoNodes& nodes, const char* client, const char* server) {
  for (const int family : kFamilies)
    if (const auto problem = dial_and_talk(nodes.at(client), nodes.at(server), family); !problem.empty())
      return problem;
  return "";
}

bool comes_to_pass(const TwoNodes& nodes, const char* client) {
  return eventually(seconds(20), [&] { return talk(nodes, client, "server").empty(); });
}
bool comes_to_fail(const TwoNodes& nodes, const char* client) {
  return eventually(seconds(20), [&] { return !talk(nodes, client, "server").empty(); });
}

}  // namespace

TEST_CASE("mtls: connections of another node are let in by principal and by namespace") {
  TwoNodes nodes;
  nodes.add(nodes.one, "shop", "other");
  nodes.add(nodes.one, "bank", "teller");
  for (const char* pod : {"other", "teller"}) nodes.wait_tunnels(nodes.one, pod);
  const struct {
    const char* spec;
    const char* client;
    const char* stranger;
  } rows[] = {
      {R"("action": "ALLOW", "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/client"]}}]}])",
       "client", "other"},
      {R"("action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": ["bank"]}}]}])", "teller", "client"},
      {R"("action": "DENY", "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/other"]}}]}])",
       "teller", "other"},
      {R"("action": "DENY", "rules": [{"from": [{"source": {"notNamespaces": ["shop"]}}]}])", "client", "teller"},
      {R"("action": "ALLOW", "rules": [{"from": [{"source": {"serviceAccounts": ["shop/other"]}}]}])", "other",
       "client"},
  };
  for (const auto& row : rows) {
    CAPTURE(std::string(row.spec));
    nodes.put_policy("who", "server", row.spec);
    CHECK_MESSAGE(comes_to_fail(nodes, row.stranger), nodes.logs());
    CHECK_MESSAGE(comes_to_pass(nodes, row.client), nodes.logs());
    CHECK(!talk(nodes, row.stranger, "server").empty());
  }
}

TEST_CASE("mtls: who has no certificate is nobody, whatever its address") {
  TwoNodes nodes;
  nodes.put_policy("who", "server", R"("action": "ALLOW", )" + from(R"("principals": ["*"])"));
  CHECK(comes_to_fail(nodes, "out"));
  CHECK(comes_to_pass(nodes, "client"));
  nodes.put_policy("who", "server", R"("action": "DENY", )" + from(R"("notPrincipals": ["*"])"));
  CHECK(comes_to_pass(nodes, "client"));
  CHECK(!talk(nodes, "out", "server").empty());
}

TEST_CASE("mtls: requests of another node are judged one by one, by who asks and by what they ask") {
  const TwoNodes nodes;
  const Process web = start_web(nodes.at("server"), nodes.folder("web"));
  const auto ask = [&](const char* client, const char* path) {
    return curl_at(nodes.at(client), url_of(nodes.at("server"), AF_INET, kWebPort, path));
  };
  const auto ends_with = [](const std::string& answer, const char* status) { return answer.ends_with(status); };
  CHECK_MESSAGE(ends_with(ask("client", "/"), "(200)"), nodes.logs());
  nodes.put_policy(
      "what", "server",
      R"("action": "DENY", "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/client"]}}], )"
      R"("to": [{"operation": {"paths": ["/admin*"]}}]}])");
  CHECK_MESSAGE(eventually(seconds(20), [&] { return ends_with(ask("client", "/admin"), "(403)"); }), nodes.logs());
  CHECK(ends_with(ask("client", "/x/..//%61dmin"), "(403)"));
  CHECK(ends_with(ask("client", "/open"), "(200)"));
  CHECK(ends_with(ask("out", "/admin"), "(200)"));  // not the client
  nodes.put_policy("what", "server",
                   R"("action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}], )"
                   R"("to": [{"operation": {"methods": ["GET"]}}]}])");
  // Nobody without a name can be let in, so the kernel already refuses it.
  CHECK_MESSAGE(eventually(seconds(20), [&] { return ends_with(ask("out", "/"), "(000)"); }), nodes.logs());
  CHECK(ends_with(ask("client", "/admin"), "(200)"));
  const auto url = url_of(nodes.at("server"), AF_INET6, kWebPort);
  const std::string deleted = curl_at(nodes.at("client"), url, {"-X", "DELETE"});
  CHECK_MESSAGE(ends_with(deleted, "(403)"), deleted);
}

TEST_CASE("mtls: a connection of another node that is no longer allowed is cut") {
  const TwoNodes nodes;
  const UniqueFd listener = listen_at(nodes.at("server"), AF_INET);
  const UniqueFd client = connect_from(nodes.at("client"), local_address(listener.get()));
  send_all(client.get(), "x");
  const UniqueFd server = accept_from(listener.get());
  CHECK(receive_exactly(server.get(), 1) == "x");
  nodes.put_policy("who", "server",
                   R"("action": "DENY", )" + from(R"("principals": ["cluster.local/ns/shop/sa/client"])"));
  for (const int fd : {client.get(), server.get()}) {
    char byte = 0;
    REQUIRE_MESSAGE(readable(fd, seconds(20)), nodes.logs());
    CHECK(::recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
  }
}

}  // namespace underpass::test
