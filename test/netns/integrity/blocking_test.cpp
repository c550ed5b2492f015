// SPDX-License-Identifier: Apache-2.0
// A thread sleeps in a blocking recv() while something else happens to its socket. Over TCP it sleeps on until there is
// data, the end of the stream or an error.
//
// Known difference (Linux 5.15 to 6.18 at least): a mapped socket's reader sleeps in tcp_bpf_recvmsg(), which waits
// once and takes every wake-up that brought no data for a time-out: EAGAIN. These tests say what is, not what should
// be, so that the day it is right does not pass unseen.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "test/support/sockets.h"
#include "test/support/tasks.h"
#include "test/support/world.h"

namespace underpass::test {
namespace {

// What recv() of one byte returned, as text: the byte, "end", or the error.
std::string receive_one(int fd) {
  char byte = 0;
  const ssize_t n = ::recv(fd, &byte, 1, 0);
  if (n == 1) return std::string("byte ") + byte;
  return n == 0 ? "end" : std::strerror(errno);
}

// Gets the end in which a reader is to sleep and the other one; returns what the reader got.
using Scenario = std::function<std::string(int sleeper, int peer)>;

// The reader sleeps, `disturb` happens, and at last a byte comes for a reader that is still there.
Scenario sleeping_reader(const std::function<void(int sleeper, int peer, const Task& reader)>& disturb) {
  return [disturb](int sleeper, int peer) {
    std::string got;
    Task reader([&] { got = receive_one(sleeper); }, sleeper);
    REQUIRE(reader.eventually_sleeps_in(SYS_recvfrom));
    disturb(sleeper, peer, reader);
    (void)eventually(milliseconds(50), [&] { return reader.done(); });  // if it is disturbed, then now
    [[maybe_unused]] const ssize_t n = ::send(peer, "x", 1, MSG_NOSIGNAL);
    reader.join();
    return got;
  };
}

const Scenario kShutdownOfSending =
    sleeping_reader([](int sleeper, int, const Task&) { ::shutdown(sleeper, SHUT_WR); });

const Scenario kWriterGetsSpace = sleeping_reader([](int sleeper, int peer, const Task&) {
  const std::string bytes(16u << 20, 'y');
  Task writer([&] { send_all(sleeper, bytes); }, sleeper);
  REQUIRE(writer.eventually_sleeps_in(SYS_sendto));
  CHECK(receive_exactly(peer, bytes.size()) == bytes);
  writer.join();
});

const Scenario kReset = sleeping_reader([](int, int peer, const Task&) {
  sockaddr unspecified{};
  REQUIRE(::connect(peer, &unspecified, sizeof unspecified) == 0);  // AF_UNSPEC: aborts the connection
});

const Scenario kHalfClose = sleeping_reader([](int, int peer, const Task&) { ::shutdown(peer, SHUT_WR); });
const Scenario kShutdownOfReading =
    sleeping_reader([](int sleeper, int, const Task&) { ::shutdown(sleeper, SHUT_RD); });

Scenario signalled(int flags) {
  return sleeping_reader([flags](int, int, const Task& reader) {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    action.sa_flags = flags;
    REQUIRE(::sigaction(SIGUSR1, &action, nullptr) == 0);
    reader.signal(SIGUSR1);
  });
}

constexpr const char* kSleepsOn = "byte x";
constexpr const char* kEnd = "end";

enum class Way { kDirect, kShortCircuit };

// Over a connection that already carries bytes, in either of its ends.
void check(Way way, const Scenario& scenario, const std::string& expected) {
  World world;
  world.add_pod("shop", "plain", {.short_circuit = "off"});
  world.wait_enrolled("shop", "plain", "off");
  for (const int family : {AF_INET, AF_INET6}) {
    for (const bool at_client : {true, false}) {
      CAPTURE(family);
      CAPTURE(at_client);
      const Pair pair = make_pair_between(world.at("a"), world.at(way == Way::kDirect ? "plain" : "b"), family);
      exchange(pair.client.get(), pair.server.get());
      const auto record = world.pinned.connection(pair.client.get());
      REQUIRE(record);
      REQUIRE(record->way == (way == Way::kDirect ? UP_WAY_DIRECT : UP_WAY_SHORT_CIRCUIT));
      CHECK(scenario((at_client ? pair.client : pair.server).get(), (at_client ? pair.server : pair.client).get()) ==
            expected);
    }
  }
}

TEST_CASE("over TCP a sleeping reader is disturbed by what concerns it alone") {
  check(Way::kDirect, kShutdownOfSending, kSleepsOn);
  check(Way::kDirect, kWriterGetsSpace, kSleepsOn);
  check(Way::kDirect, kReset, std::strerror(ECONNRESET));
  check(Way::kDirect, kHalfClose, kEnd);
  check(Way::kDirect, kShutdownOfReading, kEnd);
  check(Way::kDirect, signalled(SA_RESTART), kSleepsOn);
  check(Way::kDirect, signalled(0), std::strerror(EINTR));
}

TEST_CASE("short-circuit: the peer's half-close wakes a sleeping reader with the end of the stream") {
  check(Way::kShortCircuit, kHalfClose, kEnd);
}

TEST_CASE("known difference: a sleeping reader is disturbed with EAGAIN by what does not concern it") {
  const std::string disturbed = std::strerror(EAGAIN);
  check(Way::kShortCircuit, kShutdownOfSending, disturbed);
  check(Way::kShortCircuit, kWriterGetsSpace, disturbed);
  check(Way::kShortCircuit, signalled(SA_RESTART), disturbed);
}

TEST_CASE("known difference: a sleeping reader gets EAGAIN instead of ECONNRESET, EINTR or the end of the stream") {
  const std::string disturbed = std::strerror(EAGAIN);
  check(Way::kShortCircuit, kReset, disturbed);
  check(Way::kShortCircuit, signalled(0), disturbed);
  check(Way::kShortCircuit, kShutdownOfReading, disturbed);
}

}  // namespace
}  // namespace underpass::test
