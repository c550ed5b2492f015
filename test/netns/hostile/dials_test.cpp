// SPDX-License-Identifier: Apache-2.0
// A worker's dial sockets are bypass tokens: no policy is asked and nobody captures them. So a hostile worker tries to
// dial what it may not, for whom it may not.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "test/netns/hostile/stage.h"
#include "test/support/process.h"

namespace underpass::test {
namespace {

constexpr const char* kRefused = "announced=EPERM connected=EPERM";
constexpr const char* kElsewhere = "announced=ok connected=EPERM";
constexpr const char* kWell = "announced=ok connected=ok";
const std::vector<std::string> kWays{"connect", "fastopen", "sendmsg", "unspec"};

void ip(const std::string& netns, const std::string& lines) {
  run_ok({.argv = {"ip", "-batch", "-"}, .netns = netns, .input = lines});
}

std::string id_text(std::uint64_t id) { return std::to_string(id); }

TEST_CASE("hostile dials: the connection that it was given is carried, and by every way of dialling") {
  const Stage stage;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(stage.at("out"), family);
    const Dialogue talk(stage.at("a"), local_address(listener.get()));
    CHECK(talk.ask("peer") == "id=" + id_text(talk.id()) + " netns=" + id_text(stage.scene.world.net.cookie("a")));
    for (const auto& how : {"connect", "fastopen", "sendmsg"}) {
      CAPTURE(how);
      Dial dial = dial_to(local_address(listener.get()));
      dial.how = how;
      CHECK(talk.ask(dial.to_string()) == kWell);
      CHECK(accept_from(listener.get()));
    }
  }
}

// Takes whoever waits there, and lets them go.
void empty(int listener) {
  while (readable(listener, milliseconds(0))) (void)accept_from(listener);
}

TEST_CASE("hostile dials: without a connection of its own to carry there is none") {
  const Stage stage;
  set_sysctl(stage.at("a").netns, "net.ipv4.tcp_fin_timeout", "1");
  const UniqueFd of_bank = listen_at(stage.at("out"), AF_INET);
  const UniqueFd foreign = connect_from(stage.at("c"), local_address(of_bank.get()));
  const UniqueFd foreign_server = accept_from(of_bank.get());
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(stage.at("out"), family);
    const Address to = local_address(listener.get());
    Dialogue closed(stage.at("a"), to);
    const Dialogue talk(stage.at("a"), to);
    const Dialogue of_b(stage.at("b"), to);
    REQUIRE(talk.ask("peer").starts_with("id="));
    REQUIRE(of_b.ask("peer").starts_with("id="));
    REQUIRE(closed.ask("peer").starts_with("id="));
    const std::string was = id_text(closed.id());
    closed.close();
    REQUIRE(eventually(seconds(10), [&] { return !stage.scene.world.pinned.connection_of(std::stoull(was)); }));
    for (const auto& how : kWays) {
      CAPTURE(how);
      Dial dial = dial_to(to);
      dial.how = how;
      const std::string first = how == "unspec" ? "disconnected=ok " : "";
      dial.carries = "none";
      CHECK(talk.ask(dial.to_string()) == first + "connected=EPERM");
      for (const auto& id : {std::string("0"), std::string("1"), std::string("18446744073709551615"), was,
                             id_text(socket_cookie(foreign.get())), id_text(of_b.id())}) {
        CAPTURE(id);
        dial.carries = id;
        CHECK(talk.ask(dial.to_string()) == first + kRefused);
      }
    }
    // One of which the worker has closed its end, while its client has not.
    Dialogue left(stage.at("a"), to);
    REQUIRE(left.ask("peer").starts_with("id="));
    REQUIRE(talk.ask("finish " + id_text(left.id())) == "ok");
    Dial late = dial_to(to);
    late.carries = id_text(left.id());
    CHECK(eventually(seconds(10), [&] { return talk.ask(late.to_string()) == kRefused; }));
    CHECK(stage.scene.world.pinned.connection_of(left.id()));
    empty(listener.get());
    // A socket of b, for a connection that was accepted in a; and the other way round it is what it should be.
    Dial dial = dial_to(to);
    dial.netns = id_text(stage.scene.world.net.cookie("b"));
    CHECK(talk.ask(dial.to_string()) == kRefused);
    CHECK_FALSE(readable(listener.get(), milliseconds(0)));
    CHECK(of_b.ask(dial.to_string()) == kWell);
    CHECK(accept_from(listener.get()));
  }
  exchange(foreign.get(), foreign_server.get(), 1);
}

// Whom the hostile worker may not reach, each really there.
struct Targets {
  std::vector<UniqueFd> listeners;
  std::vector<Address> addresses;

  void add(UniqueFd listener) {
    addresses.push_back(local_address(listener.get()));
    listeners.push_back(std::move(listener));
  }
  void check_nobody_came() const {
    for (std::size_t i = 0; i < listeners.size(); ++i) {
      CAPTURE(addresses[i].to_string());
      CHECK_FALSE(readable(listeners[i].get(), milliseconds(0)));
    }
  }
};

Targets make_targets(const Stage& stage) {
  const auto& net = stage.scene.world.net;
  const std::string node = net.bridge_netns();
  run_in_netns(node, [&] {
    run_ok({.argv = {"sh", "-c",
                     "dev=$(ip -o link show type bridge | cut -d: -f2) && ip addr add 10.77.255.1/16 dev $dev && "
                     "ip addr add 169.254.169.254/32 dev $dev && ip addr add fd00:77::ffff/64 dev $dev nodad"}});
  });
  for (const char* pod : {"a", "b", "out"}) ip(stage.at(pod).netns, "route add 169.254.169.254/32 dev eth0\n");
  Targets out;
  const Place on_node{.netns = node, .v4 = "10.77.255.1", .v6 = "fd00:77::ffff"};
  const Place metadata{.netns = node, .v4 = "169.254.169.254", .v6 = "::1"};
  out.add(listen_at(metadata, AF_INET, {}, 80));
  out.add(listen_at(on_node, AF_INET, {}, 10250));
  out.add(listen_at(on_node, AF_INET6, {}, 10250));
  for (const int family : kFamilies) {
    out.add(listen_at(on_node, family));
    out.add(listen_at(stage.at("c"), family));
    out.add(listen_at(stage.at("b"), family));
    out.add(listen_at(stage.at("out"), family));                 // the wanted host, and another port
    out.add(listen_at({.netns = stage.at("a").netns}, family));  // the pod's own loopback
    out.add(listen_at(stage.at("a"), family));                   // ... and address
  }
  // Whoever is no worker gets there: nothing but the programs stands between. (Of those that the hostile worker takes
  // none arrives.)
  for (std::size_t i = 0; i < out.addresses.size(); ++i) {
    const std::string host = ip_of(out.addresses[i]);
    if (host == "127.0.0.1" || host == "::1") continue;
    const UniqueFd open = connect_from(stage.at("out"), out.addresses[i]);
    const bool taken = std::ranges::any_of(
        std::array{"a", "b"}, [&](const char* pod) { return host == stage.at(pod).v4 || host == stage.at(pod).v6; });
    if (!taken) (void)accept_from(out.listeners[i].get());
  }
  return out;
}

TEST_CASE("hostile dials: to nowhere but where the connection wanted to go") {
  const Stage stage;
  const Targets targets = make_targets(stage);
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(stage.at("out"), family);
    const Dialogue talk(stage.at("a"), local_address(listener.get()));
    for (const auto& to : targets.addresses) {
      for (const auto& how : kWays) {
        CAPTURE(to.to_string());
        CAPTURE(how);
        Dial dial = dial_to(to);
        dial.how = how;
        CHECK(talk.ask(dial.to_string()) == (how == "unspec" ? "disconnected=ok " : "") + std::string(kElsewhere));
        if (to.family() != AF_INET) continue;
        dial.ip = "::ffff:" + dial.ip;
        CHECK(talk.ask(dial.to_string()) == (how == "unspec" ? "disconnected=ok " : "") + std::string(kElsewhere));
      }
    }
    // Nor by the address that it has in the other family, nor by none.
    for (const std::string nowhere : {"0.0.0.0", "::", "127.0.0.1", "::1", "255.255.255.255", "224.0.0.1", "ff02::1"}) {
      CAPTURE(nowhere);
      Dial dial = dial_to(local_address(listener.get()));
      dial.ip = nowhere;
      CHECK(talk.ask(dial.to_string()) == std::string(kElsewhere));
    }
    CHECK_FALSE(readable(listener.get(), milliseconds(0)));
  }
  targets.check_nobody_came();
}

TEST_CASE("hostile dials: a v4-mapped address of where it wanted to go is no way round either") {
  const Stage stage;
  const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
  const Dialogue talk(stage.at("a"), local_address(listener.get()));
  Dial dial = dial_to(local_address(listener.get()));
  dial.ip = "::ffff:" + dial.ip;
  CHECK(talk.ask(dial.to_string()) == "announced=ok connected=ENETUNREACH");  // the sockets are of IPv6 only
}

TEST_CASE("hostile dials: a socket that is connected, or was, gains nothing by it") {
  const Stage stage;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(stage.at("out"), family);
    const UniqueFd other = listen_at(stage.at("out"), family);
    const UniqueFd in_bank = listen_at(stage.at("c"), family);
    const Dialogue talk(stage.at("a"), local_address(listener.get()));
    REQUIRE(talk.ask(dial_to(local_address(listener.get())).to_string()) == kWell);
    CHECK(accept_from(listener.get()));
    for (const int to : {other.get(), in_bank.get()}) {
      Dial dial = dial_to(local_address(to));
      dial.which = "last";
      const bool connected = to == other.get();
      CHECK(talk.ask(dial.to_string()) == (connected ? "announced=ok connected=EISCONN" : kElsewhere));
      dial.how = "unspec";
      CHECK(talk.ask(dial.to_string()) == "disconnected=ok announced=ok connected=EPERM");
      dial.carries = "none";
      CHECK(talk.ask(dial.to_string()) == "disconnected=ok connected=EPERM");
      CHECK_FALSE(readable(to, milliseconds(0)));
    }
    // It is no listener, and has no address of its choice.
    CHECK(talk.ask("last bind") == "EPERM");
    CHECK(talk.ask("last listen") == "EPERM");
    Dial again = dial_to(local_address(listener.get()));
    again.which = "last";
    CHECK(talk.ask(again.to_string()) == kWell);
    CHECK(accept_from(listener.get()));
  }
}

}  // namespace
}  // namespace underpass::test
