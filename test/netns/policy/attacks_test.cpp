// SPDX-License-Identifier: Apache-2.0
// What a pod can do without forging a packet to look like another: marks, addresses, ports, foreign network namespaces,
// and the less usual ways of TCP to make a connection.
#include <doctest/doctest.h>

#include <netinet/tcp.h>

#include <cerrno>
#include <stdexcept>

#include "test/netns/policy/scene.h"
#include "test/support/files.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace underpass::test {
namespace {

void ip(const Place& place, const std::string& lines) {
  run_ok({.argv = {"ip", "-batch", "-"}, .netns = place.netns, .input = lines});
}

std::string with_length(const std::string& address, int family) {
  return address + (family == AF_INET ? "/16 dev eth0" : "/64 dev eth0 nodad");
}

void add_address(const Place& place, const std::string& address, int family) {
  ip(place, "addr add " + with_length(address, family) + "\n");
}

void drop_address(const Place& place, const std::string& address, int family) {
  ip(place, "addr del " + address + (family == AF_INET ? "/16" : "/64") + " dev eth0\n");
}

void flush_neighbours(const Scene& scene) {
  for (const char* name : {"b", "web", "evil", "out"}) ip(scene.at(name), "neigh flush all\n");
}

TEST_CASE("attack: a mark on the socket changes nothing") {
  Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    for (const int mark : {1, 2, 0xf00, 0x539, 0x10000, -1}) {
      const Prepare marked = [mark](int fd) { set_option(fd, SOL_SOCKET, SO_MARK, mark); };
      check_refused(scene.at("evil"), listener.get(), marked);
      check_refused(scene.at("out"), listener.get(), marked);
      check_passes(scene.at("web"), listener.get(), marked);
    }
  }
}

TEST_CASE("attack: a process in another pod's network namespace is that pod, and a socket stays where it was made") {
  Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const Address to = local_address(listener.get());
    const auto connect_in = [&](const std::string& netns, int fd) {
      int error = 0;
      run_in_netns(netns, [&] { error = ::connect(fd, to.get(), to.size) == 0 ? 0 : errno; });
      return error;
    };
    const UniqueFd of_web = socket_in(scene.at("web").netns, family, SOCK_STREAM);
    CHECK(connect_in(scene.at("evil").netns, of_web.get()) == 0);
    (void)accept_from(listener.get());
    CHECK(identity_of_client(scene, local_address(of_web.get())).ends_with("/sa/web"));
    for (const char* other : {"evil", "out"}) {
      const UniqueFd of_other = socket_in(scene.at(other).netns, family, SOCK_STREAM);
      CHECK(connect_in(scene.at("web").netns, of_other.get()) == ECONNREFUSED);
      CHECK_FALSE(readable(listener.get(), milliseconds(0)));
    }
  }
}

TEST_CASE("attack: a pod that gives itself the victim's address never passes as the victim") {
  Scene scene;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const std::string victim = scene.at("web").ip(family);
    for (const char* attacker : {"evil", "out"}) {
      INFO(attacker, " family ", family);
      add_address(scene.at(attacker), victim, family);
      scene.world.net.cut("web");  // so that what the server answers comes here
      flush_neighbours(scene);
      check_refused(scene.at(attacker), listener.get(), bound_to(victim, 0));
      // With the 4-tuple of a dial of the victim's that is under way, too.
      const UniqueFd waiting = socket_in(scene.at("web").netns, family, SOCK_STREAM | SOCK_NONBLOCK);
      bound_to(victim, 0)(waiting.get());
      const Address to = local_address(listener.get());
      REQUIRE(::connect(waiting.get(), to.get(), to.size) == -1);
      REQUIRE(errno == EINPROGRESS);
      try {
        const UniqueFd posing =
            connect_from(scene.at(attacker), to, bound_to(victim, local_address(waiting.get()).port()));
        // Its SYN was taken for the victim's. It hears nothing, and is not heard.
        const UniqueFd server = accept_from(listener.get());
        // The first call after the reset is told of it.
        for (const UniqueFd* end : {&posing, &server})
          CHECK((::send(end->get(), "secret", 6, MSG_NOSIGNAL) == -1 || ends_with_error(end->get())));
      } catch (const std::runtime_error& error) {
        CHECK(std::string(error.what()).contains("Connection refused"));
      }
      drop_address(scene.at(attacker), victim, family);
      scene.world.net.join("web");
      flush_neighbours(scene);
      check_passes(scene.at("web"), listener.get());
    }
  }
}

// The victim's SYN waits for room at the server. Meanwhile a pod that may dial the server as well makes a connection
// with the same addresses and ports of its own, and gives it up.
TEST_CASE("attack: a pod that gives itself the victim's address cannot take the victim's record away") {
  Scene scene;
  scene.world.objects.put_text("policy.yaml", allow_accounts(R"("web", "evil")"));
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const Address to = local_address(listener.get());
    REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("evil"), to).empty(); }));
    (void)accept_from(listener.get());
    check_passes(scene.at("web"), listener.get());  // its neighbour is known: the SYN is lost and not kept
    const std::string victim = scene.at("web").ip(family);
    scene.world.net.cut("web");
    UniqueFd waiting = socket_in(scene.at("web").netns, family, SOCK_STREAM | SOCK_NONBLOCK);
    bound_to(victim, 0)(waiting.get());
    REQUIRE(::connect(waiting.get(), to.get(), to.size) == -1);
    REQUIRE(scene.world.pinned.entries("up_sources") == 1);
    add_address(scene.at("evil"), victim, family);
    scene.world.net.cut("evil");
    {
      const UniqueFd posing = socket_in(scene.at("evil").netns, family, SOCK_STREAM | SOCK_NONBLOCK);
      bound_to(victim, local_address(waiting.get()).port())(posing.get());
      CHECK(::connect(posing.get(), to.get(), to.size) == -1);
    }
    CHECK(scene.world.pinned.entries("up_sources") == 1);
    drop_address(scene.at("evil"), victim, family);
    scene.world.net.join("evil");
    scene.world.net.join("web");
    // The victim's SYN is sent again, and is the victim's.
    REQUIRE(readable(listener.get(), seconds(10)));
    const UniqueFd server = accept_from(listener.get());
    set_nonblocking(waiting.get(), false);
    exchange(waiting.get(), server.get());
    CHECK(identity_of_client(scene, local_address(waiting.get())).ends_with("/sa/web"));
  }
}

Prepare abrupt_from(const std::string& ip, std::uint16_t port) {
  return [ip, port](int fd) {
    bound_to(ip, port)(fd);
    const linger now{.l_onoff = 1, .l_linger = 0};
    if (::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) != 0) throw_errno("SO_LINGER");
  };
}

TEST_CASE("attack: the same 4-tuple again and again is always whoever dials") {
  Scene scene("on");
  for (const int family : kFamilies) {
    INFO("family ", family);
    const UniqueFd listener = listen_at(scene.at("b"), family);
    const Address to = local_address(listener.get());
    const std::string address = scene.at("web").ip(family);
    constexpr std::uint16_t kPort = 45678;
    for (int i = 0; i < 50; ++i) {
      const UniqueFd client = connect_from(scene.at("web"), to, abrupt_from(address, kPort));
      const UniqueFd server = accept_from(listener.get());
      exchange(client.get(), server.get(), 1);
      if (i % 10 == 0) CHECK(identity_of_client(scene, local_address(client.get())).ends_with("/sa/web"));
    }
    // The address moves to another pod; the objects still say that it is web's.
    drop_address(scene.at("web"), address, family);
    for (const char* thief : {"evil", "out"}) {
      add_address(scene.at(thief), address, family);
      flush_neighbours(scene);
      for (int i = 0; i < 20; ++i) check_refused(scene.at(thief), listener.get(), abrupt_from(address, kPort));
      drop_address(scene.at(thief), address, family);
    }
    add_address(scene.at("web"), address, family);
    flush_neighbours(scene);
    check_passes(scene.at("web"), listener.get(), abrupt_from(address, kPort));
  }
}

TEST_CASE("attack: an address that was given to another pod brings no identity with it") {
  Scene scene;
  const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
  const Place web = scene.at("web");
  check_passes(web, listener.get(), abrupt_from(web.v4, 45678));
  scene.world.objects.remove_pod("shop", "web");
  scene.world.wait_not_enrolled("shop", "web");
  drop_address(web, web.v4, AF_INET);
  add_address(scene.at("evil"), web.v4, AF_INET);
  PodObject evil = scene.world.pod_object("shop", "evil");
  evil.service_account = "evil";
  evil.ips.insert(evil.ips.begin(), web.v4);
  scene.world.objects.put(evil);
  flush_neighbours(scene);
  for (int i = 0; i < 20; ++i) check_refused(scene.at("evil"), listener.get(), abrupt_from(web.v4, 45678));
}

// Cases of `how` a connection is made, each for all three.
void check_all(const Scene& scene, int listener, const Prepare& prepare) {
  check_refused(scene.at("evil"), listener, prepare);
  check_refused(scene.at("out"), listener, prepare);
  const UniqueFd client = connect_from(scene.at("web"), local_address(listener), prepare);
  const UniqueFd server = accept_from(listener);
  exchange(client.get(), server.get());
  CHECK(identity_of_client(scene, local_address(client.get())).ends_with("/sa/web"));
}

TEST_CASE("ways: SYN cookies") {
  for (const char* mode : {"off", "on"}) {
    Scene scene(mode);
    set_sysctl(scene.at("b").netns, "net.ipv4.tcp_syncookies", "2");
    for (const int family : kFamilies) {
      const UniqueFd listener = listen_at(scene.at("b"), family);
      for (int i = 0; i < 10; ++i) check_all(scene, listener.get(), {});
    }
  }
}

// sendto() with the first bytes on the SYN; the error, or 0.
int open_fast(int fd, const Address& to) {
  return ::sendto(fd, "early", 5, MSG_FASTOPEN | MSG_NOSIGNAL, to.get(), to.size) == 5 ? 0 : errno;
}

TEST_CASE("ways: TCP Fast Open") {
  for (const char* mode : {"off", "on"}) {
    Scene scene(mode);
    for (const char* name : {"b", "web", "evil", "out"})
      set_sysctl(scene.at(name).netns, "net.ipv4.tcp_fastopen", "519");  // both sides, without cookies
    for (const int family : kFamilies) {
      const UniqueFd listener =
          listen_at(scene.at("b"), family, [](int fd) { set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, 16); });
      const Address to = local_address(listener.get());
      for (const char* name : {"evil", "out"}) {
        const UniqueFd client = socket_in(scene.at(name).netns, family, SOCK_STREAM);
        if (open_fast(client.get(), to) == 0) CHECK(ends_with_error(client.get()));
        CHECK_FALSE(readable(listener.get(), milliseconds(0)));
      }
      const UniqueFd client = socket_in(scene.at("web").netns, family, SOCK_STREAM);
      REQUIRE(open_fast(client.get(), to) == 0);
      const UniqueFd server = accept_from(listener.get());
      CHECK(receive_exactly(server.get(), 5) == "early");
      exchange(client.get(), server.get());
      CHECK(identity_of_client(scene, local_address(client.get())).ends_with("/sa/web"));
    }
  }
}

TEST_CASE("ways: an IPv4 client of a dual-stack listener, an IPv6 socket that dials a v4-mapped address") {
  Scene scene("on");
  const Place& b = scene.at("b");
  const UniqueFd listener = socket_in(b.netns, AF_INET6, SOCK_STREAM);
  set_option(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  const Address any = Address::of("::", 0);
  REQUIRE(::bind(listener.get(), any.get(), any.size) == 0);
  REQUIRE(::listen(listener.get(), 16) == 0);
  const std::uint16_t port = local_address(listener.get()).port();
  for (const Address& to : {Address::of(b.v4, port), Address::of("::ffff:" + b.v4, port), Address::of(b.v6, port)}) {
    INFO(to.to_string());
    for (const char* name : {"evil", "out"}) {
      CHECK(is_refused(scene.at(name), to));
      CHECK_FALSE(readable(listener.get(), milliseconds(0)));
    }
    const UniqueFd client = connect_from(scene.at("web"), to);
    const UniqueFd server = accept_from(listener.get());
    exchange(client.get(), server.get());
    CHECK(identity_of_client(scene, peer_address(server.get())).ends_with("/sa/web"));
  }
}

TEST_CASE("ways: MPTCP") {
  Scene scene("on");
  for (const int family : kFamilies) {
    INFO("family ", family);
    for (const bool server_too : {false, true}) {
      const Place& b = scene.at("b");
      const UniqueFd listener = socket_in(b.netns, family, SOCK_STREAM, server_too ? IPPROTO_MPTCP : 0);
      const Address at = Address::of(b.ip(family), 0);
      REQUIRE(::bind(listener.get(), at.get(), at.size) == 0);
      REQUIRE(::listen(listener.get(), 16) == 0);
      const Address to = local_address(listener.get());
      for (const char* name : {"evil", "out"}) {
        const UniqueFd client = socket_in(scene.at(name).netns, family, SOCK_STREAM, IPPROTO_MPTCP);
        CHECK(::connect(client.get(), to.get(), to.size) == -1);
        CHECK(errno == ECONNREFUSED);
        CHECK_FALSE(readable(listener.get(), milliseconds(0)));
      }
      const UniqueFd client = socket_in(scene.at("web").netns, family, SOCK_STREAM, IPPROTO_MPTCP);
      REQUIRE(::connect(client.get(), to.get(), to.size) == 0);
      const UniqueFd server = accept_from(listener.get());
      exchange(client.get(), server.get());
      CHECK(identity_of_client(scene, peer_address(server.get())).ends_with("/sa/web"));
    }
  }
}

// Both dial, and both SYNs are lost; the first that is sent again meets a socket that has sent one itself.
TEST_CASE("ways: simultaneous open") {
  for (const char* mode : {"off", "on"}) {
    Scene scene(mode);
    for (const int family : kFamilies) {
      INFO("family ", family);
      const auto bound = [&](const char* name) {
        UniqueFd fd = socket_in(scene.at(name).netns, family, SOCK_STREAM | SOCK_NONBLOCK);
        bound_to(scene.at(name).ip(family), 0)(fd.get());
        return fd;
      };
      const UniqueFd web = bound("web"), b = bound("b"), evil = bound("evil");
      const Address of_web = local_address(web.get()), of_b = local_address(b.get());
      scene.world.objects.put_text("policy.yaml", allow_accounts(R"("web", "default")"));
      const UniqueFd listener = listen_at(scene.at("web"), family);
      REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("b"), local_address(listener.get())).empty(); }));
      CHECK(::connect(evil.get(), of_b.get(), of_b.size) == -1);
      CHECK(errno == ECONNREFUSED);
      scene.world.net.cut("b");
      REQUIRE(::connect(web.get(), of_b.get(), of_b.size) == -1);
      REQUIRE(errno == EINPROGRESS);
      REQUIRE(::connect(b.get(), of_web.get(), of_web.size) == -1);
      REQUIRE(errno == EINPROGRESS);
      scene.world.net.join("b");
      for (const int fd : {web.get(), b.get()}) set_nonblocking(fd, false);
      exchange(web.get(), b.get());
      // Two dialled: each has a record, and in each the client is who made it.
      CHECK(identity_of_client(scene, of_web).ends_with("/sa/web"));
      CHECK(identity_of_client(scene, of_b).ends_with("/sa/default"));
    }
  }
}

}  // namespace
}  // namespace underpass::test
