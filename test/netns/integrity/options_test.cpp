// SPDX-License-Identifier: Apache-2.0
// Socket options under which redirected bytes would behave unlike TCP's: such a connection stays on TCP, from whichever
// end the option comes, and whether it is set before the connection is made or later.
#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <cstring>

#include "test/netns/accounts.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

struct Option {
  const char* name;
  Prepare set;
  const char* reason;  // fallbackReason of a connection that is made with it
};

Prepare number(int level, int option, int value) {
  return [=](int fd) { set_option(fd, level, option, value); };
}

void attach_filter(int fd) {
  sock_filter accept_all = BPF_STMT(BPF_RET | BPF_K, 0xffffffff);
  const sock_fprog program{.len = 1, .filter = &accept_all};
  REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
}

const Option kOptions[] = {
    {"SO_RCVLOWAT", number(SOL_SOCKET, SO_RCVLOWAT, 2), "rcvlowat"},
    {"SO_ZEROCOPY", number(SOL_SOCKET, SO_ZEROCOPY, 1), "zerocopy"},
    {"SO_TIMESTAMP", number(SOL_SOCKET, SO_TIMESTAMP, 1), "timestamps"},
    {"SO_TIMESTAMPING", number(SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE),
     "timestamps"},
    {"SO_PEEK_OFF", number(SOL_SOCKET, SO_PEEK_OFF, 0), "peek-off"},
    {"TCP_INQ", number(IPPROTO_TCP, TCP_INQ, 1), "inq"},
    {"SO_RCVBUF", number(SOL_SOCKET, SO_RCVBUF, 16384), "small-rcvbuf"},
    {"SO_ATTACH_FILTER", attach_filter, "socket-filter"},
};

TEST_CASE("an option that is set before the connection is made, at either end") {
  const World world;
  for (const Option& option : kOptions) {
    for (const int family : {AF_INET, AF_INET6}) {
      for (const bool at_client : {true, false}) {
        CAPTURE(option.name);
        CAPTURE(family);
        CAPTURE(at_client);
        const Accounts accounts(world);
        const Pair pair = make_pair_between(world.at("a"), world.at("b"), family, at_client ? option.set : Prepare{},
                                            at_client ? Prepare{} : option.set);
        // SO_RCVLOWAT is 2 at most: no message is shorter.
        exchange(pair.client.get(), pair.server.get(), 20);
        const auto row = world.ctl.connection(pair.client.get());
        REQUIRE(row);
        CHECK(row->way == "direct");
        CHECK(row->fallback_reason == option.reason);
        CHECK(accounts.redirected_bytes() == 0);
        CHECK(accounts.short_circuited() == 0);
        const auto record = world.pinned.connection(pair.client.get());
        REQUIRE(record);
        CHECK(record->end[UP_SERVER].mapped == 0);
        CHECK(eventually(seconds(5),
                         [&] { return world.pinned.connection(pair.client.get())->end[UP_CLIENT].mapped == 0; }));
      }
    }
  }
}

TEST_CASE("an option that is set before the first byte") {
  const World world;
  for (const Option& option : kOptions) {
    for (const bool at_client : {true, false}) {
      CAPTURE(option.name);
      CAPTURE(at_client);
      const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET6);
      option.set((at_client ? pair.client : pair.server).get());
      const Accounts accounts(world);
      exchange(pair.client.get(), pair.server.get(), 20);
      CHECK(accounts.redirected_bytes() == 0);
    }
  }
}

// Those that a receiver can switch on for what is to come, seen on every message.
TEST_CASE("an option that is set in mid-stream ends redirection to that end") {
  const World world;
  for (const Option& option : kOptions) {
    const std::string reason = option.reason;
    if (reason != "rcvlowat" && reason != "timestamps" && reason != "zerocopy") continue;
    for (const bool at_client : {true, false}) {
      CAPTURE(option.name);
      CAPTURE(at_client);
      const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
      exchange(pair.client.get(), pair.server.get(), 20);
      const int end = at_client ? UP_CLIENT : UP_SERVER;
      // What this end receives; of zero copy, what it sends.
      const int direction = reason == "zerocopy" ? end : 1 - end;
      const auto redirected = [&] {
        return world.pinned.connection(pair.client.get())->dir[direction].redirected_bytes;
      };
      REQUIRE(redirected() > 0);
      option.set((at_client ? pair.client : pair.server).get());
      const std::uint64_t before = redirected();
      exchange(pair.client.get(), pair.server.get(), 20);
      CHECK(redirected() == before);
    }
  }
}

TEST_CASE("MPTCP sockets talk as ever, and are not short-circuited") {
  const World world;
  for (const int family : {AF_INET, AF_INET6}) {
    CAPTURE(family);
    const Accounts accounts(world);
    const UniqueFd listener = socket_in(world.at("b").netns, family, SOCK_STREAM, IPPROTO_MPTCP);
    const Address any = Address::of(world.at("b").ip(family), 0);
    REQUIRE(::bind(listener.get(), any.get(), any.size) == 0);
    REQUIRE(::listen(listener.get(), 8) == 0);
    const Address to = local_address(listener.get());
    for (const int protocol : {IPPROTO_MPTCP, IPPROTO_TCP}) {
      CAPTURE(protocol);
      const UniqueFd client = socket_in(world.at("a").netns, family, SOCK_STREAM, protocol);
      REQUIRE(::connect(client.get(), to.get(), to.size) == 0);
      const UniqueFd server = accept_from(listener.get());
      exchange(client.get(), server.get(), 20);
      // A plain client makes the listener fall back to plain TCP, which may be redirected.
      if (protocol == IPPROTO_MPTCP) CHECK(accounts.redirected_bytes() == 0);
    }
  }
}

}  // namespace
}  // namespace underpass::test
