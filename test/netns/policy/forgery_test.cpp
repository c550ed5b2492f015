// SPDX-License-Identifier: Apache-2.0
// A forger with NET_RAW speaks in the victim's name, and has all that a record which was left over can give: the right
// addresses and ports, while the victim is still waiting for an answer. It must not get a byte in or out, whether the
// agent lives or not.
#include <doctest/doctest.h>

#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "test/netns/policy/forger.h"
#include "test/netns/policy/scene.h"

namespace underpass::test {
namespace {

// A dial of "web" that nobody answers: its SYN left, and its record is there.
struct LeftOver {
  UniqueFd victim;
  Address as;
};

LeftOver leave_record(const Scene& scene, const Address& to) {
  const std::size_t before = scene.world.pinned.entries("up_sources");
  const Place& web = scene.at("web");
  LeftOver out{.victim = socket_in(web.netns, to.family(), SOCK_STREAM | SOCK_NONBLOCK), .as = {}};
  bound_to(web.ip(to.family()), 0)(out.victim.get());
  out.as = local_address(out.victim.get());
  REQUIRE(::connect(out.victim.get(), to.get(), to.size) == -1);
  REQUIRE(errno == EINPROGRESS);
  REQUIRE(scene.world.pinned.entries("up_sources") == before + 1);
  return out;
}

// What ARP and neighbour discovery were told is forgotten.
void heal(const Scene& scene) {
  for (const char* name : {"b", "web"})
    run_ok({.argv = {"ip", "neigh", "flush", "all"}, .netns = scene.at(name).netns});
}

// A byte from `fd`, by whichever of the two ways it comes; 0: an end of stream; -1: none, errno says why.
int take_byte(int fd) {
  for (const int flags : {int{MSG_OOB}, 0}) {
    char byte = 0;
    const ssize_t n = ::recv(fd, &byte, 1, flags | MSG_DONTWAIT);
    if (n > 0) return static_cast<unsigned char>(byte);
    if (n == 0 && flags == 0) return 0;
    if (errno != EAGAIN && errno != EINVAL) break;  // EINVAL: no byte is urgent
  }
  return -1;
}

// Nothing comes out of the server's socket, for a while; if the agent lives, until there is an error.
void check_silent(int fd, bool alive) {
  int got = -1;
  const bool over = eventually(milliseconds(alive ? 2000 : 200), [&] {
    got = take_byte(fd);
    return got >= 0 || errno != EAGAIN;
  });
  CHECK(got == -1);
  CHECK(over == alive);
}

// Whoever the server accepts neither hears nor is heard. With an agent that lives, it is reset.
void check_barred(int listener, Forger& forger, bool alive) {
  UniqueFd server;
  if (readable(listener, seconds(2))) server.reset(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (server) {
    check_silent(server.get(), alive);
    (void)::send(server.get(), "secret", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
    forger.send("stolen");
    if (!alive) check_silent(server.get(), alive);
    forger.send("!", true);
    if (!alive) check_silent(server.get(), alive);
  }
  if (alive) CHECK(eventually(seconds(2), [&] { return forger.was_reset(); }));
  CHECK(forger.payload().empty());
}

enum class Step { kPlain, kDataWithAck, kFastOpen, kWithdrawn };

void attack(Scene& scene, const std::string& attacker, int family, Step step, bool alive) {
  INFO(attacker, " family ", family, " step ", static_cast<int>(step), std::string(alive ? "" : " agent dead"));
  const UniqueFd listener = listen_at(scene.at("b"), family);
  if (step == Step::kFastOpen) set_option(listener.get(), IPPROTO_TCP, TCP_FASTOPEN, 16);
  scene.world.net.cut("web");
  LeftOver left = leave_record(scene, local_address(listener.get()));
  Forger forger(scene.at(attacker), scene.at("b"), left.as, local_address(listener.get()));
  REQUIRE(forger.syn(step == Step::kFastOpen ? "stolen" : ""));
  if (step == Step::kFastOpen) REQUIRE(forger.acknowledged() == 6);  // so the server's socket is there already
  if (step == Step::kWithdrawn) {
    left.victim.reset();
    REQUIRE(scene.world.pinned.entries("up_sources") == 0);
  }
  forger.acknowledge(step == Step::kDataWithAck ? "stolen" : "");
  check_barred(listener.get(), forger, alive);
  left.victim.reset();
  scene.world.net.join("web");
  heal(scene);
}

void attack_in_every_way(Scene& scene, Step step) {
  for (const bool alive : {true, false}) {
    for (const char* attacker : {"out", "evil"})
      for (const int family : kFamilies) attack(scene, attacker, family, step, alive);
    const UniqueFd listener = listen_at(scene.at("b"), AF_INET);
    check_passes(scene.at("web"), listener.get());
    if (alive) scene.world.agent.kill9();
  }
}

TEST_CASE("forgery: a record that was left over is no good to who has not its sequence number") {
  Scene scene;
  attack_in_every_way(scene, Step::kPlain);
}

TEST_CASE("forgery: nor are bytes that come with the last packet of the handshake") {
  Scene scene;
  attack_in_every_way(scene, Step::kDataWithAck);
}

TEST_CASE("forgery: nor are bytes on the SYN") {
  Scene scene;
  set_sysctl(scene.at("b").netns, "net.ipv4.tcp_fastopen", "514");  // of servers, no cookie asked
  attack_in_every_way(scene, Step::kFastOpen);
}

TEST_CASE("forgery: nor is a record that is withdrawn in the middle of the handshake") {
  Scene scene;
  attack_in_every_way(scene, Step::kWithdrawn);
}

TEST_CASE("forgery: with SYN cookies it is the same") {
  Scene scene;
  set_sysctl(scene.at("b").netns, "net.ipv4.tcp_syncookies", "2");
  attack_in_every_way(scene, Step::kPlain);
}

TEST_CASE("forgery: without a record nothing answers") {
  Scene scene("on");
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    for (const char* attacker : {"out", "evil"}) {
      Forger forger(scene.at(attacker), scene.at("b"), Address::of(scene.at("web").ip(family), 40000),
                    local_address(listener.get()));
      CHECK_FALSE(forger.syn("", seconds(1)));
    }
    heal(scene);
    check_passes(scene.at("web"), listener.get());
  }
}

// The same forger where everybody may come in: the harness can do what the tests above say that it cannot.
TEST_CASE("forgery: the forger passes where strangers may") {
  Scene scene;
  scene.world.objects.remove_text("policy.yaml");
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(scene.at("b"), family);
    REQUIRE(eventually(seconds(5), [&] { return dial(scene.at("out"), local_address(listener.get())).empty(); }));
    (void)accept_from(listener.get());
    scene.world.net.cut("web");
    Forger forger(scene.at("out"), scene.at("b"), Address::of(scene.at("web").ip(family), 40000),
                  local_address(listener.get()));
    REQUIRE(forger.connect());
    const UniqueFd server = accept_from(listener.get());
    forger.send("hello");
    CHECK(receive_exactly(server.get(), 5) == "hello");
    send_all(server.get(), "welcome");
    CHECK(eventually(seconds(2), [&] { return forger.payload() == "welcome"; }));
    scene.world.net.join("web");
    heal(scene);
  }
}

}  // namespace
}  // namespace underpass::test
