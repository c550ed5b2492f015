// SPDX-License-Identifier: Apache-2.0
// A worker as HBONE's server, against a client written from the protocol that plays a pod of a third node, well and
// badly. After everything bad, who is good comes through.
#include <doctest/doctest.h>

#include <poll.h>

#include <list>

#include "test/netns/mtls/scene.h"
#include "test/support/hbone_client.h"

namespace underpass::test {
namespace {

struct Ground : TwoNodes {
  Ground() {
    add_foreign("shop", "remote");
    wait_remote(two, "remote");
  }
  [[nodiscard]] const Place& from() const { return at("remote"); }
  [[nodiscard]] const Place& to() const { return at("server"); }
  [[nodiscard]] TlsManners good() const { return as("shop", "remote"); }
  [[nodiscard]] HboneClient client(int family = AF_INET) const { return {from(), to(), good(), family}; }

  // Somebody good comes through, and within a time in which nobody bad can have been waited for.
  [[nodiscard]] bool is_well() const {
    try {
      const UniqueFd listener = listen_at(to(), AF_INET);
      HboneClient one = client();
      const auto tunnel = one.open(authority_of(to(), local_address(listener.get()).port()));
      const UniqueFd served = accept_from(listener.get(), seconds(5));
      one.wire->send(tunnel, "well");
      (void)one.wire->turn_until([] { return false; }, milliseconds(1));
      if (receive_exactly(served.get(), 4, seconds(5)) != "well") return false;
      send_all(served.get(), "met");
      return one.wire->receive(tunnel, 3, seconds(5)) == "met";
    } catch (const std::exception& error) {
      MESSAGE(error.what());
      return false;
    }
  }
};

}  // namespace

TEST_CASE("mtls: a client of another make comes through, and the application sees its address") {
  const Ground ground;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const UniqueFd listener = listen_at(ground.to(), family);
    HboneClient client = ground.client(family);
    CHECK(client.wire->tls().peer_uris() == std::vector<std::string>{ground.ca.id("shop", "server")});
    CHECK(client.wire->tls().protocol() == "TLSv1.3");
    CHECK(client.wire->tls().alpn() == "h2");
    const auto tunnel = client.open(authority_of(ground.to(), local_address(listener.get()).port(), family),
                                    {{"baggage", "k8s.namespace.name=shop,k8s.pod.name=remote"},
                                     {"forwarded", "for=10.1.2.3"},
                                     {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}});
    Address said;
    said.size = sizeof said.storage;
    REQUIRE(readable(listener.get(), seconds(10)));
    const UniqueFd served(::accept4(listener.get(), said.get(), &said.size, SOCK_CLOEXEC));
    const std::string text = said.to_string();
    CHECK(text.substr(0, text.rfind(':')).contains(ground.from().ip(family)));
    const std::string large(8 << 20, 'x');
    client.wire->send(tunnel, large);
    std::string heard;
    while (heard.size() < large.size()) {
      (void)client.wire->turn_until([] { return false; }, milliseconds(5));
      std::string some(1 << 20, '\0');
      const ssize_t size = ::recv(served.get(), some.data(), some.size(), MSG_DONTWAIT);
      if (size > 0) heard.append(some, 0, static_cast<std::size_t>(size));
      REQUIRE((size > 0 || errno == EAGAIN));
    }
    CHECK(heard == large);
    client.wire->send(tunnel, {}, true);
    CHECK(client.wire->turn_until([&] { return readable(served.get(), milliseconds(0)); }));
    char byte = 0;
    CHECK(::recv(served.get(), &byte, 1, 0) == 0);
    send_all(served.get(), "the last word");
    CHECK(client.wire->receive(tunnel, 13) == "the last word");
  }
}

TEST_CASE("mtls: 200 comes after the application was reached, and 503 where nobody listens") {
  const Ground ground;
  HboneClient client = ground.client();
  UniqueFd listener = listen_at(ground.to(), AF_INET);
  const std::string authority = authority_of(ground.to(), local_address(listener.get()).port());
  CHECK(client.status(client.connect(authority)) == "200");
  CHECK(readable(listener.get(), milliseconds(0)));
  listener.reset();
  CHECK(client.status(client.connect(authority)) == "503");
  CHECK(ground.is_well());
}

TEST_CASE("mtls: whom the server's worker does not believe gets no tunnel") {
  const Ground ground;
  const std::string id = ground.ca.id("shop", "remote");
  const auto shows = [&](const SvidFields& fields) { return ground.ca.issue(fields); };
  const UniqueFd listener = listen_at(ground.to(), AF_INET);
  const std::string authority = authority_of(ground.to(), local_address(listener.get()).port());
  auto rows = wrong_svids(ground.ca, "remote");
  rows.push_back({"none at all", {}});
  rows.push_back({"not for clients", shows({.uris = {id}, .client_auth = false})});
  for (const auto& row : rows) {
    CAPTURE(row.what);
    std::string status;
    try {
      HboneClient client(ground.from(), ground.to(), {.svid = row.svid, .roots = ground.ca.root()});
      status = client.status(client.connect(authority));
    } catch (const std::exception&) {
      // Already the handshake was refused.
    }
    CHECK(status != "200");
    CHECK(!readable(listener.get(), milliseconds(0)));
  }
  auto old = ground.good();
  old.highest = TLS1_2_VERSION;
  CHECK(how_it_is_met(ground.from(), ground.to(), old) != "open");
  auto no_alpn = ground.good();
  no_alpn.alpn = "";
  CHECK(how_it_is_met(ground.from(), ground.to(), no_alpn) != "open");
  auto other_alpn = ground.good();
  other_alpn.alpn = "http/1.1";
  CHECK(how_it_is_met(ground.from(), ground.to(), other_alpn) != "open");
  CHECK(how_it_is_met(ground.from(), ground.to(),
                      {.svid = shows({.uris = {id}, .rsa = true}), .roots = ground.ca.root()}) == "open");
  CHECK(ground.is_well());
}

TEST_CASE("mtls: CONNECT leads to the pod that was reached and to none of its ports that are the mesh's") {
  const Ground ground;
  const UniqueFd other = listen_at(ground.at("far"), AF_INET);
  const UniqueFd listener = listen_at(ground.to(), AF_INET);
  const std::string port = std::to_string(local_address(listener.get()).port());
  const std::string v4 = ground.to().v4, v6 = "[" + ground.to().v6 + "]";
  HboneClient client = ground.client();
  const std::string authorities[] = {
      authority_of(ground.at("far"), local_address(other.get()).port()),
      authority_of(ground.at("client"), 80),
      "127.0.0.1:" + port,
      "[::1]:" + port,
      "0.0.0.0:" + port,
      "169.254.169.254:80",
      "[::ffff:127.0.0.1]:" + port,
      v4 + ":15001",
      v4 + ":15006",
      v4 + ":15008",
      v6 + ":15008",
      v4,
      v4 + ":",
      v4 + ":0",
      v4 + ":65536",
      v4 + ":" + port + "x",
      ":" + port,
      "nowhere.example:80",
      "user@" + v4 + ":" + port,
  };
  for (const std::string& authority : authorities) {
    CAPTURE(authority);
    const std::string status = client.status(client.connect(authority));
    CHECK(status != "200");
    if (client.wire->has_ended) client = ground.client();
  }
  for (const UniqueFd* untouched : {&other, &listener}) CHECK(!readable(untouched->get(), milliseconds(0)));
  CHECK(ground.is_well());
}

TEST_CASE("mtls: CONNECT may name the pod by a Service that leads to it, and by no other") {
  const Ground ground;
  const UniqueFd listener = listen_at(ground.to(), AF_INET);
  const std::string target = std::to_string(local_address(listener.get()).port());
  const auto put = [&](const std::string& name, const std::string& app, const std::string& port) {
    ground.objects.put(
        ServiceObject{.ns = "shop", .name = name, .ports = {{.port = 80, .target = port}}, .selector = {{"app", app}}});
  };
  put("web", "server", target);
  put("mesh", "server", "15008");
  put("other", "remote", target);
  HboneClient client = ground.client();
  const auto status_of = [&](const std::string& authority) { return client.status(client.connect(authority)); };
  CHECK(eventually(seconds(10), [&] { return status_of("web.shop.svc.cluster.local:80") == "200"; }));
  CHECK(readable(listener.get(), seconds(10)));
  for (const char* bad : {"web.shop.svc.cluster.local:81", "other.shop.svc.cluster.local:80", "web.shop:80",
                          "mesh.shop.svc.cluster.local:80", "web.shop.svc.cluster.local"}) {
    CAPTURE(bad);
    CHECK(status_of(bad) == "400");
    if (client.wire->has_ended) client = ground.client();
  }
  CHECK(ground.is_well());
}

TEST_CASE("mtls: what is no CONNECT, or none that HTTP/2 knows, gets no tunnel") {
  const Ground ground;
  const UniqueFd listener = listen_at(ground.to(), AF_INET);
  const std::string authority = authority_of(ground.to(), local_address(listener.get()).port());
  const Head heads[] = {
      {{":method", "CONNECT"}},
      {{":method", "CONNECT"}, {":authority", ""}},
      {{":method", "CONNECT"}, {":scheme", "https"}, {":path", "/"}, {":authority", authority}},
      {{":method", "CONNECT"}, {":authority", authority}, {":authority", authority}},
      {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", authority}},
      {{":method", "CONNECT"},
       {":protocol", "websocket"},
       {":scheme", "https"},
       {":path", "/"},
       {":authority", authority}},
  };
  for (const Head& head : heads) {
    CAPTURE(field_of(head, ":method"));
    CAPTURE(head.size());
    HboneClient client = ground.client();
    CHECK(client.status(client.wire->ask(head)) != "200");
  }
  CHECK(!readable(listener.get(), milliseconds(0)));
  CHECK(ground.is_well());
}

TEST_CASE("mtls: garbage, in TLS and in HTTP/2, ends the connection that it came on") {
  const Ground ground;
  const Address door = Address::of(ground.to().v4, kHbonePort);
  for (const std::string& garbage : {std::string("GET / HTTP/1.1\r\nhost: x\r\n\r\n"), std::string(100000, '\xff'),
                                     std::string("\x16\x03\x01\xff\xff", 5) + std::string(70000, 'g')}) {
    const UniqueFd fd = connect_from(ground.from(), door);
    try {
      send_all(fd.get(), garbage);
    } catch (const std::exception&) {
      // It was already refused.
    }
    const bool over = eventually(seconds(15), [&] {
      std::string some(1 << 16, '\0');
      const ssize_t size = ::recv(fd.get(), some.data(), some.size(), MSG_DONTWAIT);
      return size == 0 || (size < 0 && errno != EAGAIN);
    });
    CHECK(over);
  }
  for (const std::string& garbage : {std::string("not the preface of HTTP/2, by far\r\n\r\n"),
                                     std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string(100000, '\xee')}) {
    HboneClient client(ground.from(), ground.to(), ground.good(), AF_INET, false);
    client.wire->send_raw(garbage);
    CHECK(client.is_ended(seconds(15)));
  }
  CHECK(ground.is_well());
}

TEST_CASE("mtls: 64 KB of baggage and 10,000 streams are more than there is room for, and hurt nobody else") {
  const Ground ground;
  const UniqueFd listener = listen_at(ground.to(), AF_INET);
  const std::string authority = authority_of(ground.to(), local_address(listener.get()).port());
  {
    HboneClient client = ground.client();
    CHECK(client.status(client.connect(authority, {{"baggage", std::string(64 * 1024, 'b')}})) != "200");
  }
  CHECK(ground.is_well());
  {
    HboneClient client = ground.client();
    for (int i = 0; i < 10000; ++i) client.connect(authority);
    (void)client.wire->turn_until([&] { return client.wire->has_ended; }, seconds(5));
    CHECK(ground.is_well());
    std::size_t stand = 0;
    for (const auto& [id, stream] : client.wire->streams)
      if (field_of(stream.head, ":status") == "200" && !stream.closed) ++stand;
    CHECK(stand < 1000);
  }
  CHECK(ground.is_well());
}

TEST_CASE("mtls: half-open tunnels and a peer that never reads hold up nobody else") {
  const Ground ground;
  std::list<UniqueFd> silent;  // TCP, and then nothing
  for (int i = 0; i < 200; ++i) silent.push_back(connect_from(ground.from(), Address::of(ground.to().v4, kHbonePort)));
  std::list<HboneClient> mute;  // TLS, and then nothing
  for (int i = 0; i < 50; ++i) mute.emplace_back(ground.from(), ground.to(), ground.good(), AF_INET, false);
  CHECK(ground.is_well());
  const UniqueFd listener = listen_at(ground.to(), AF_INET);
  HboneClient deaf = ground.client();
  const auto tunnel = deaf.open(authority_of(ground.to(), local_address(listener.get()).port()));
  const UniqueFd served = accept_from(listener.get());
  deaf.wire->read_no_more();
  set_nonblocking(served.get(), true);
  const std::string some(1 << 16, 's');
  std::size_t taken = 0;
  // Until nobody takes any more, as over a plain connection.
  const bool stalls = eventually(seconds(30), [&] {
    ssize_t size = 0;
    while ((size = ::send(served.get(), some.data(), some.size(), MSG_NOSIGNAL)) > 0)
      taken += static_cast<std::size_t>(size);
    pollfd wait{.fd = served.get(), .events = POLLOUT, .revents = 0};
    return ::poll(&wait, 1, 1000) == 0;
  });
  CHECK(stalls);
  CHECK(taken < (64u << 20));
  CHECK(ground.is_well());
  deaf.wire->read_again();
  CHECK(deaf.wire->turn_until([&] { return deaf.wire->streams[tunnel].came == taken; }, seconds(30)));
}

}  // namespace underpass::test
