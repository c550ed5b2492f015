// SPDX-License-Identifier: Apache-2.0
// Two ends of mutual TLS in one loop, over a socket pair: who lets whom in, and what becomes of the bytes.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include "test/support/sockets.h"
#include "test/support/tasks.h"
#include "test/support/test_ca.h"
#include "userspace_proxy/tls/tls_transport.h"

namespace underpass::test {
namespace {

using tls::TlsTransport;

class Ends final {
 public:
  struct Side {
    Svid svid;
    std::string roots;
    tls::Expected expected;
  };

  Ends(const Side& client, const Side& server) {
    (void)std::signal(SIGPIPE, SIG_IGN);  // as main() of a worker does
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    client_.transport = TlsTransport::connect(*loop_, UniqueFd(fds[0]), identity_of(client), client.expected);
    server_.transport = TlsTransport::accept(*loop_, UniqueFd(fds[1]), identity_of(server), server.expected);
    for (auto* end : {&client_, &server_})
      REQUIRE(end->transport->watch(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *end));
  }

  // Each end tries to read and write until both have shaken hands, or one has refused.
  bool settle() {
    return eventually(seconds(5), [&] {
      loop_->run_round(net::Clock::now());
      client_.read();
      server_.read();
      return (client_.transport->is_established() && server_.transport->is_established()) || client_.error != 0 ||
             server_.error != 0;
    });
  }
  bool turn_until(const std::function<bool()>& done) {
    return eventually(seconds(5), [&] {
      loop_->run_round(net::Clock::now());
      client_.read();
      server_.read();
      return done();
    });
  }

  struct End final : net::Watcher {
    void on_events(std::uint32_t) override {}
    void read() {
      char bytes[4096];
      for (ssize_t got = 0; error == 0 && !ended;) {
        got = transport->receive(bytes, sizeof(bytes));
        if (got > 0) {
          heard.append(bytes, static_cast<std::size_t>(got));
          continue;
        }
        if (got == 0) ended = true;
        if (got < 0 && errno != EAGAIN) error = errno;
        return;
      }
    }
    std::unique_ptr<TlsTransport> transport;
    std::string heard;
    bool ended = false;
    int error = 0;
  };
  End& client() { return client_; }
  End& server() { return server_; }

 private:
  static tls::IdentityPtr identity_of(const Side& side) {
    RoutingTable table;
    table.certificates = {{"x", {.chain = side.svid.chain, .key = side.svid.key}}};
    table.trust_bundle = side.roots;
    tls::IdentityMaker maker;
    auto made = maker.make(table);
    REQUIRE_MESSAGE(made, made.error().message);
    return made->at("x");
  }

  std::unique_ptr<net::Loop> loop_ = std::move(net::Loop::make().value());
  End client_;
  End server_;
};

const TestCa& ca() {
  static const TestCa one;
  return one;
}

tls::Expected any() { return {.id = "", .trust_domain = "cluster.local"}; }
Ends::Side good(const std::string& account, tls::Expected expected = any()) {
  return {.svid = ca().svid("shop", account), .roots = ca().root(), .expected = std::move(expected)};
}

TEST_CASE("tls: both ends know whom they speak with, and bytes go both ways, to the end") {
  Ends ends(good("a", {.id = ca().id("shop", "b"), .trust_domain = "cluster.local"}), good("b"));
  REQUIRE(ends.settle());
  CHECK(ends.client().transport->peer_id() == ca().id("shop", "b"));
  CHECK(ends.server().transport->peer_id() == ca().id("shop", "a"));
  const std::string words(100'000, 'x');
  for (std::size_t done = 0; done < words.size();) {
    const ssize_t sent = ends.client().transport->send(words.data() + done, words.size() - done);
    if (sent > 0) done += static_cast<std::size_t>(sent);
    ends.server().read();
  }
  CHECK(ends.server().transport->send("back", 4) == 4);
  CHECK(ends.turn_until([&] { return ends.server().heard == words && ends.client().heard == "back"; }));
  ends.client().transport->close(true);
  CHECK(eventually(seconds(5), [&] {
    ends.server().read();
    return ends.server().ended;
  }));
}

TEST_CASE("tls: an end that goes without a word is an error, not an end") {
  Ends ends(good("a"), good("b"));
  REQUIRE(ends.settle());
  ends.client().transport->close(false);
  CHECK(eventually(seconds(5), [&] {
    ends.server().read();
    return ends.server().error != 0;
  }));
  CHECK_FALSE(ends.server().ended);
}

TEST_CASE("tls: a client lets in only the one that it expects") {
  Ends ends(good("a", {.id = ca().id("shop", "c"), .trust_domain = "cluster.local"}), good("b"));
  REQUIRE(ends.settle());
  CHECK(ends.client().error == EPROTO);
  CHECK(ends.client().transport->problem() == "it is " + ca().id("shop", "b") + ", not " + ca().id("shop", "c"));
}

TEST_CASE("tls: a server lets in nobody who has no good certificate of its trust domain") {
  const TestCa foreign;
  const struct {
    Svid svid;
    std::string problem;
  } kCases[] = {
      {foreign.svid("shop", "a"), "self-signed certificate in certificate chain"},
      {ca().issue({.uris = {"spiffe://other/ns/shop/sa/a"}}),
       "spiffe://other/ns/shop/sa/a is not of trust domain cluster.local"},
      {ca().issue({.common_name = ca().id("shop", "a")}), "no subjectAltName"},
      {ca().issue({.uris = {ca().id("shop", "a"), ca().id("shop", "b")}}), "more than one URI in subjectAltName"},
      {ca().issue({.uris = {ca().id("shop", "a")}, .until = -std::chrono::minutes(1)}), "certificate has expired"},
      {ca().issue({.uris = {ca().id("shop", "a")}, .from = std::chrono::hours(1)}), "certificate is not yet valid"},
      {ca().issue({.uris = {ca().id("shop", "a")}, .client_auth = false}), "unsuitable certificate purpose"},
  };
  for (const auto& [svid, problem] : kCases) {
    Ends ends({.svid = svid, .roots = ca().root() + foreign.root().substr(0, 0), .expected = any()}, good("b"));
    REQUIRE(ends.turn_until([&] { return ends.server().error != 0; }));
    CHECK(ends.server().error == EPROTO);
    const auto& said = ends.server().transport->problem();
    CHECK_MESSAGE((said == problem || (&svid == &kCases[0].svid && said.contains("certificate"))), said);
    CHECK(ends.server().transport->peer_id().empty());
    CHECK_FALSE(ends.server().transport->is_established());
  }
}

TEST_CASE("tls: a certificate that is none names its identity, and what is wrong") {
  RoutingTable table;
  table.trust_bundle = ca().root();
  table.certificates = {{"spiffe://x", {.chain = "nothing", .key = "nothing"}}};
  tls::IdentityMaker maker;
  auto made = maker.make(table);
  REQUIRE_FALSE(made);
  CHECK(made.error().message.starts_with("spiffe://x: certificate: "));
  const auto a = ca().svid("shop", "a"), b = ca().svid("shop", "b");
  table.certificates = {{"spiffe://x", {.chain = a.chain, .key = b.key}}};
  made = maker.make(table);
  REQUIRE_FALSE(made);
  CHECK(made.error().message == "spiffe://x: key: key values mismatch");
  table.certificates = {{"spiffe://x", {.chain = a.chain, .key = a.key}}};
  table.trust_bundle = "";
  made = maker.make(table);
  REQUIRE_FALSE(made);
  CHECK(made.error().message.starts_with("trust bundle: "));
}

TEST_CASE("tls: what did not change is not made anew") {
  RoutingTable table;
  table.trust_bundle = ca().root();
  const auto a = ca().svid("shop", "a"), b = ca().svid("shop", "b");
  table.certificates = {{"a", {.chain = a.chain, .key = a.key}}, {"b", {.chain = b.chain, .key = b.key}}};
  tls::IdentityMaker maker;
  const auto first = maker.make(table);
  const auto renewed = ca().svid("shop", "b");
  table.certificates["b"] = {.chain = renewed.chain, .key = renewed.key};
  const auto second = maker.make(table);
  REQUIRE((first && second));
  CHECK(second->at("a") == first->at("a"));
  CHECK(second->at("b") != first->at("b"));
  table.trust_bundle += TestCa().root();
  const auto third = maker.make(table);
  REQUIRE(third);
  CHECK(third->at("a") != first->at("a"));
}

TEST_CASE("tls: what a pod had stays until it ends, where a new table has nothing for it") {
  RoutingTable table;
  table.pods = {{.netns = 1, .id = {"shop", "a"}, .identity = "a", .tunnels = true},
                {.netns = 2, .id = {"shop", "b"}, .identity = "b", .tunnels = true},
                {.netns = 3, .id = {"shop", "c"}, .identity = "c"}};
  table.trust_bundle = ca().root();
  const auto lasts = ca().svid("shop", "a");
  const auto ends = ca().issue({.uris = {ca().id("shop", "b")}, .until = -std::chrono::seconds(1)});
  table.certificates = {{"a", {.chain = lasts.chain, .key = lasts.key}},
                        {"b", {.chain = ends.chain, .key = ends.key}},
                        {"c", {.chain = lasts.chain, .key = lasts.key}}};
  tls::IdentityMaker maker;
  auto whole = table;
  const auto first = maker.make(whole);
  REQUIRE(first);
  table.certificates.clear();
  table.trust_bundle.clear();
  const auto second = maker.make(table);
  REQUIRE(second);
  CHECK(second->size() == 1);
  CHECK(second->at("a") == first->at("a"));
  CHECK(table.trust_bundle == ca().root());
}

}  // namespace
}  // namespace underpass::test
