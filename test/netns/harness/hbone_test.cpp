// SPDX-License-Identifier: Apache-2.0
// The tests' own peers of HBONE, one against the other, and the certificates they show, by the program openssl.
#include <doctest/doctest.h>

#include "test/support/hbone_client.h"
#include "test/support/hbone_server.h"
#include "test/support/payload.h"
#include "test/support/process.h"
#include "test/support/temp_folder.h"

namespace underpass::test {
namespace {

struct Ground {
  PodNet net;
  TestCa ca;
  Place client = net.add("client");
  Place server = net.add("server");

  [[nodiscard]] TlsManners as(const std::string& account) const {
    return {.svid = ca.svid("shop", account), .roots = ca.root()};
  }
};

std::string some_bytes(std::size_t size) {
  std::string out(size, '\0');
  Payload(7).fill(0, out);
  return out;
}

std::string openssl_says_of(const Svid& svid, const std::string& option) {
  const TempFolder folder;
  folder.write("chain.pem", svid.chain);
  return run_ok({.argv = {"openssl", "x509", "-in", folder / "chain.pem", "-noout", option, "-subject"}});
}

}  // namespace

TEST_CASE("a tunnel of the tests' own carries bytes both ways, more than its windows hold") {
  Ground ground;
  for (const int family : {AF_INET, AF_INET6}) {
    CAPTURE(family);
    const HboneServer server(ground.server, {.tls = ground.as("server"), .family = family});
    HboneClient client(ground.client, ground.server, ground.as("client"), family);
    const auto tunnel = client.open("10.9.9.9:80", {{"baggage", "k8s.namespace.name=shop"}});
    const std::string bytes = some_bytes(24 << 20);
    CHECK(client.echo(tunnel, bytes) == bytes);
    client.wire->send(tunnel, {}, true);
    CHECK(client.wire->turn_until([&] { return client.wire->streams[tunnel].closed; }));
    CHECK(!client.wire->streams[tunnel].reset);
    CHECK(client.wire->tls().protocol() == "TLSv1.3");
    CHECK(client.wire->tls().alpn() == "h2");
    CHECK(client.wire->tls().peer_uris() == std::vector<std::string>{"spiffe://cluster.local/ns/shop/sa/server"});
    const auto requests = server.requests();
    REQUIRE(requests.size() == 1);
    CHECK(requests[0].authority() == "10.9.9.9:80");
    CHECK(requests[0].field("baggage") == "k8s.namespace.name=shop");
    CHECK(requests[0].client_uris == std::vector<std::string>{"spiffe://cluster.local/ns/shop/sa/client"});
    CHECK(requests[0].client_ip.contains(ground.client.ip(family)));
  }
}

TEST_CASE("the server answers as it is told, and the client hears it") {
  Ground ground;
  HboneServer server(ground.server, {.tls = ground.as("server")});
  HboneClient client(ground.client, ground.server, ground.as("client"));
  for (const char* status : {"401", "503"}) {
    server.answer_with([&](const auto&) { return HboneServer::Answer{.status = status}; });
    CHECK(client.status(client.connect("10.9.9.9:80")) == status);
  }
  server.answer_with([](const auto&) { return HboneServer::Answer{.refuse = NGHTTP2_REFUSED_STREAM}; });
  const auto refused = client.connect("10.9.9.9:80");
  CHECK(client.status(refused).empty());
  CHECK(client.wire->streams[refused].reset == NGHTTP2_REFUSED_STREAM);
  server.answer_with([](const auto&) { return HboneServer::Answer{.status = ""}; });
  const auto hanging = client.connect("10.9.9.9:80");
  CHECK(client.wire->turn_until([&] { return server.requests().size() == 4; }));
  server.answer_with([](const auto&) { return HboneServer::Answer{}; });
  const auto open = client.open("10.9.9.9:80");
  CHECK(client.echo(open, "still there") == "still there");
  CHECK(client.wire->streams[hanging].head.empty());
  server.go_away();
  CHECK(client.wire->turn_until([&] { return client.wire->was_told_to_go; }));
  CHECK(client.echo(open, "drained") == "drained");
  server.cut();
  CHECK(client.is_ended());
  CHECK(client.why_ended() != "close_notify");
}

TEST_CASE("a request without authority is nothing that HTTP/2 knows, and a huge header arrives") {
  Ground ground;
  const HboneServer server(ground.server, {.tls = ground.as("server")});
  HboneClient client(ground.client, ground.server, ground.as("client"));
  const auto without = client.wire->ask({{":method", "CONNECT"}});
  CHECK(client.status(without).empty());
  CHECK(client.wire->streams[without].reset == NGHTTP2_PROTOCOL_ERROR);
  (void)client.open("10.9.9.9:80", {{"baggage", std::string(60 * 1024, 'b')}});
  REQUIRE(server.requests().size() == 1);
  CHECK(server.requests()[0].field("baggage").size() == 60 * 1024);
}

TEST_CASE("TLS is refused for its version, for no certificate and for a foreign one") {
  Ground ground;
  const TestCa foreign;
  auto strict = ground.as("server");
  strict.lowest = TLS1_3_VERSION;
  const HboneServer server(ground.server, {.tls = strict});
  const auto met = [&](const TlsManners& manners) { return how_it_is_met(ground.client, ground.server, manners); };
  CHECK(met(ground.as("client")) == "open");
  auto old = ground.as("client");
  old.highest = TLS1_2_VERSION;
  CHECK(met(old).contains("version"));
  CHECK(met({.roots = ground.ca.root()}).contains("certificate required"));
  CHECK(met({.svid = foreign.svid("shop", "client"), .roots = ground.ca.root()}).contains("unknown ca"));
  CHECK(met({.svid = ground.ca.svid("shop", "client"), .roots = foreign.root()}).contains("certificate verify failed"));
  const auto expired = ground.ca.issue(
      {.uris = {ground.ca.id("shop", "client")}, .from = -std::chrono::hours(2), .until = -std::chrono::hours(1)});
  CHECK(met({.svid = expired, .roots = ground.ca.root()}).contains("expired"));
  CHECK(server.connections() == 1);
  CHECK(eventually(seconds(10), [&] { return server.refused().size() == 5; }));
}

TEST_CASE("certificates of the tests hold what was asked for") {
  const TestCa ca("mesh.example");
  const Svid good = ca.svid("shop", "web");
  CHECK(
      openssl_says_of(good, "-ext=subjectAltName").contains("critical\n    URI:spiffe://mesh.example/ns/shop/sa/web"));
  CHECK(openssl_says_of(good, "-text").contains("ASN1 OID: prime256v1"));
  CHECK(openssl_says_of(ca.issue({.uris = {"spiffe://a/b", "spiffe://c/d"}}), "-text")
            .contains("URI:spiffe://a/b, URI:spiffe://c/d"));
  CHECK(openssl_says_of(ca.issue({.dns = {"web.shop"}}), "-text").contains("DNS:web.shop"));
  CHECK(openssl_says_of(ca.issue({.common_name = "spiffe://a/b"}), "-text").contains("CN = spiffe://a/b"));
  CHECK(openssl_says_of(ca.issue({.uris = {"spiffe://a/b"}, .rsa = true}), "-text").contains("(2048 bit)"));
  CHECK(openssl_says_of(ca.issue({.uris = {"spiffe://a/b"}, .is_ca = true}), "-text").contains("CA:TRUE"));
  CHECK(!openssl_says_of(ca.issue({.uris = {"spiffe://a/b"}, .client_auth = false}), "-text").contains("Client"));
}

TEST_CASE("an authority's folder is one that openssl can verify by") {
  const TestCa ca;
  const TempFolder folder;
  ca.write_cacerts(folder.path());
  folder.write("chain.pem", ca.svid("shop", "web").chain);
  CHECK(run_ok({.argv = {"openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
                         folder / "root-cert.pem", "-untrusted", folder / "cert-chain.pem", folder / "chain.pem"}})
            .contains("OK"));
  const std::string of_key = run_ok({.argv = {"openssl", "pkey", "-in", folder / "ca-key.pem", "-pubout"}});
  CHECK(of_key == run_ok({.argv = {"openssl", "x509", "-in", folder / "ca-cert.pem", "-noout", "-pubkey"}}));
}

}  // namespace underpass::test
