// SPDX-License-Identifier: Apache-2.0
// Readers of all habits. Each must see what it sees over TCP: full reads where it asked for them, and no byte out of
// place or left lying.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <ctime>
#include <memory>
#include <mutex>
#include <vector>

#include "test/netns/accounts.h"
#include "test/support/files.h"
#include "test/support/payload.h"
#include "test/support/sockets.h"
#include "test/support/streams.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

constexpr std::array kFamilies{AF_INET, AF_INET6};

std::string bytes_at(std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  Payload(11).fill(offset, bytes);
  return bytes;
}

TEST_CASE("MSG_WAITALL from the first byte: every read is full") {
  const World world;
  const Accounts accounts(world);
  const StreamsReport report =
      run_streams({.a = world.at("a"), .b = world.at("b"), .count = 400, .adjust = [](StreamPlan& plan) {
                     plan.wait = {Wait::kBlocking, Wait::kBlocking};
                     plan.direction[plan.seed % 2].wait_all_from = 0;
                     if (plan.seed % 3 == 0) plan.direction[1 - plan.seed % 2].wait_all_from = 0;
                   }});
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(accounts.short_circuited() == report.streams);
  CHECK(accounts.fallbacks(UP_WHY_WAITALL) > 0);
}

TEST_CASE("MSG_WAITALL later in the stream: nothing is out of place") {
  const World world;
  const Accounts accounts(world);
  const StreamsReport report =
      run_streams({.a = world.at("a"), .b = world.at("b"), .count = 400, .adjust = [](StreamPlan& plan) {
                     plan.wait = {Wait::kBlocking, Wait::kBlocking};
                     for (DirectionPlan& direction : plan.direction) {
                       direction.wait_all_from = 1 + plan.seed * 97 % (direction.bytes + 1);
                     }
                   }});
  INFO(report.to_string());
  CHECK(report.ok());
  CHECK(accounts.redirected_bytes() > 0);
}

TEST_CASE("SO_RCVLOWAT set early: the connection is direct") {
  const World world;
  const Prepare low_water = [](int fd) { set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 2000); };
  for (const int family : kFamilies) {
    for (const bool at_client : {true, false}) {
      const Pair pair = make_pair_between(world.at("a"), world.at("b"), family, at_client ? low_water : Prepare{},
                                          at_client ? Prepare{} : low_water);
      const int reader = (at_client ? pair.client : pair.server).get();
      const int sender = (at_client ? pair.server : pair.client).get();
      for (std::uint64_t offset = 0; offset < 20000; offset += 2000) {
        send_all(sender, bytes_at(offset, 1999));
        CHECK_FALSE(readable(reader, milliseconds(20)));
        send_all(sender, bytes_at(offset + 1999, 1));
        std::string got(4000, '\0');
        CHECK(readable(reader, seconds(5)));
        CHECK(::recv(reader, got.data(), got.size(), 0) == 2000);
        CHECK(got.substr(0, 2000) == bytes_at(offset, 2000));
      }
      const auto row = world.ctl.connection(pair.client.get());
      REQUIRE(row);
      CHECK(row->way == "direct");
      CHECK(row->fallback_reason == "rcvlowat");
    }
  }
}

TEST_CASE("SO_RCVLOWAT set before the first read, or in mid-stream: it is kept from then on") {
  const World world;
  for (const int family : kFamilies) {
    for (const bool mid_stream : {false, true}) {
      const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
      const int reader = pair.server.get();
      if (mid_stream) {
        exchange(pair.client.get(), reader);
        REQUIRE(world.pinned.connection(pair.client.get())->dir[UP_CLIENT].redirected_bytes > 0);
      }
      set_option(reader, SOL_SOCKET, SO_RCVLOWAT, 3000);
      for (std::uint64_t offset = 0; offset < 30000; offset += 3000) {
        for (int third = 0; third < 3; ++third) {
          CHECK_FALSE(readable(reader, milliseconds(10)));
          send_all(pair.client.get(), bytes_at(offset + static_cast<std::uint64_t>(third) * 1000, 1000));
        }
        CHECK(readable(reader, seconds(5)));
        std::string got(9000, '\0');
        CHECK(::recv(reader, got.data(), got.size(), 0) == 3000);
        CHECK(got.substr(0, 3000) == bytes_at(offset, 3000));
      }
      for (std::uint64_t i = 0; i < 10; ++i) {
        send_all(pair.server.get(), bytes_at(i * 100, 100));
        CHECK(receive_exactly(pair.client.get(), 100) == bytes_at(i * 100, 100));
      }
    }
  }
}

TEST_CASE("SO_RCVLOWAT in random streams: no read gives less") {
  const World world;
  const StreamsReport report =
      run_streams({.a = world.at("a"), .b = world.at("b"), .count = 300, .adjust = [](StreamPlan& plan) {
                     plan.wait = {Wait::kBlocking, Wait::kBlocking};
                     plan_low_water(plan.direction[plan.seed % 2], plan.seed, plan.seed % 3 == 0);
                   }});
  INFO(report.to_string());
  CHECK(report.ok());
}

// A client socket that has sent its SYN into the void, and the listener it is meant for.
struct Dialling {
  UniqueFd listener;
  UniqueFd client;
};

Dialling dial_into_the_void(World& world, int family) {
  {
    const Pair known = make_pair_between(world.at("a"), world.at("b"), family);
  }  // the neighbours know each other
  Dialling out{.listener = listen_at(world.at("b"), family), .client = {}};
  const Address to = local_address(out.listener.get());
  world.net.cut("b");
  out.client = socket_in(world.at("a").netns, family, SOCK_STREAM);
  set_nonblocking(out.client.get(), true);
  REQUIRE(::connect(out.client.get(), to.get(), to.size) == -1);
  REQUIRE(errno == EINPROGRESS);
  set_nonblocking(out.client.get(), false);
  return out;
}

TEST_CASE("a reader that sleeps in recv() before the connection is there gets everything in order") {
  World world;
  for (const int family : kFamilies) {
    Dialling dialling = dial_into_the_void(world, family);
    std::string got(100000, '\0');
    std::size_t have = 0;
    Task reader(
        [&] {
          while (have < got.size()) {
            const ssize_t n = ::recv(dialling.client.get(), got.data() + have, got.size() - have, 0);
            if (n <= 0) return;
            have += static_cast<std::size_t>(n);
          }
        },
        dialling.client.get());
    REQUIRE(reader.eventually_sleeps_in(SYS_recvfrom));
    world.net.join("b");
    const UniqueFd server = accept_from(dialling.listener.get());
    for (std::size_t sent = 0; sent < got.size(); sent += 1000) send_all(server.get(), bytes_at(sent, 1000));
    const bool arrived = eventually(seconds(10), [&] { return reader.done(); });
    if (!arrived) ::shutdown(dialling.client.get(), SHUT_RDWR);
    reader.join();
    CHECK_MESSAGE(arrived, have << " of " << got.size() << " bytes were read");
    CHECK(Payload(11).first_difference(0, {got.data(), have}) == std::nullopt);
    // It reads on where redirected bytes come too.
    exchange(dialling.client.get(), server.get());
    const auto record = world.pinned.connection(dialling.client.get());
    REQUIRE(record);
    CHECK(record->way == UP_WAY_SHORT_CIRCUIT);
    CHECK(record->dir[UP_CLIENT].redirected_bytes > 0);
  }
}

TEST_CASE("a reader that sleeps in recv() from the moment of accept() gets everything in order") {
  World world;
  for (const int family : kFamilies) {
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
    std::string got(100000, '\0');
    std::size_t have = 0;
    Task reader(
        [&] {
          while (have < got.size()) {
            const ssize_t n = ::recv(pair.server.get(), got.data() + have, got.size() - have, 0);
            if (n <= 0) return;
            have += static_cast<std::size_t>(n);
          }
        },
        pair.server.get());
    REQUIRE(reader.eventually_sleeps_in(SYS_recvfrom));
    for (std::size_t sent = 0; sent < got.size(); sent += 1000) send_all(pair.client.get(), bytes_at(sent, 1000));
    const bool arrived = eventually(seconds(10), [&] { return reader.done(); });
    if (!arrived) ::shutdown(pair.server.get(), SHUT_RDWR);
    reader.join();
    CHECK_MESSAGE(arrived, have << " of " << got.size() << " bytes were read");
    CHECK(Payload(11).first_difference(0, {got.data(), have}) == std::nullopt);
  }
}

// One message at a time, each for exactly one of several readers that all sleep in recv().
void several_readers(const World& world, int client, int server, const std::function<void()>& before_first) {
  constexpr int kReaders = 4;
  constexpr std::uint64_t kMessages = 500;
  std::atomic<std::uint64_t> taken = 0;
  std::atomic<std::uint64_t> false_eagain = 0;
  std::mutex mutex;
  std::string failure;
  std::vector<std::unique_ptr<Task>> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.push_back(std::make_unique<Task>(
        [&] {
          std::string buffer(1000, '\0');
          while (true) {
            const ssize_t n = ::recv(server, buffer.data(), buffer.size(), 0);
            if (n < 0 && errno == EAGAIN) {  // blocking_test.cpp: a known difference
              ++false_eagain;
              continue;
            }
            if (n <= 0) return;
            const std::lock_guard lock(mutex);
            if (buffer.substr(0, static_cast<std::size_t>(n)) != bytes_at(taken * 100, 100)) {
              failure = "message " + std::to_string(taken) + " came as " + std::to_string(n) + " bytes, or changed";
            }
            ++taken;
          }
        },
        server));
  }
  for (const auto& reader : readers) REQUIRE(reader->eventually_sleeps_in(SYS_recvfrom));
  before_first();
  std::uint64_t sent = 0;
  bool arrived = true;
  for (; sent < kMessages && arrived; ++sent) {
    send_all(client, bytes_at(sent * 100, 100));
    arrived = eventually(seconds(5), [&] { return taken == sent + 1; });
  }
  CHECK_MESSAGE(arrived, "message " << sent - 1 << " was taken by none of the sleeping readers");
  const auto record = world.pinned.connection(client);
  REQUIRE(record);
  MESSAGE("redirected " << record->dir[UP_CLIENT].redirected_messages << " of " << kMessages << " messages; "
                        << false_eagain.load() << " times EAGAIN for the readers that did not get them");
  ::shutdown(client, SHUT_WR);
  const bool ended =
      eventually(seconds(5), [&] { return std::ranges::all_of(readers, [](const auto& r) { return r->done(); }); });
  CHECK_MESSAGE(ended, "a sleeping reader did not see the end of the stream");
  if (!ended) ::shutdown(server, SHUT_RDWR);
  readers.clear();
  CHECK(failure == "");
}

TEST_CASE("several readers asleep on one socket: each message wakes one that takes it") {
  const World world;
  for (const int family : kFamilies) {
    {
      const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
      several_readers(world, pair.client.get(), pair.server.get(), [] {});
    }
    {
      // Redirected before the readers come.
      const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
      exchange(pair.client.get(), pair.server.get());
      several_readers(world, pair.client.get(), pair.server.get(), [] {});
    }
  }
}

TEST_CASE("readers that join a sleeping one: those of before and those of after the switch get what they wait for") {
  const World world;
  for (const int family : kFamilies) {
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
    // Asleep since before the first byte, for more than the first messages hold.
    std::string whole(5000, '\0');
    ssize_t got = 0;
    Task waits_for_all([&] { got = ::recv(pair.server.get(), whole.data(), whole.size(), MSG_WAITALL); },
                       pair.server.get());
    REQUIRE(waits_for_all.eventually_sleeps_in(SYS_recvfrom));
    for (std::uint64_t offset = 0; offset < 5000; offset += 100) send_all(pair.client.get(), bytes_at(offset, 100));
    const bool arrived = eventually(seconds(5), [&] { return waits_for_all.done(); });
    if (!arrived) ::shutdown(pair.server.get(), SHUT_RDWR);
    waits_for_all.join();
    CHECK(arrived);
    CHECK(got == 5000);
    CHECK(whole == bytes_at(0, 5000));
  }
}

// poll() joins and leaves the socket's wait queue while the program walks along it.
TEST_CASE("a thread that polls on and on while another sends is not taken for one that sleeps in recv()") {
  const World world;
  const Accounts accounts(world);
  constexpr int kConnections = 30, kMessages = 10'000;
  const std::string message(64, 'm');
  for (int i = 0; i < kConnections; ++i) {
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), i % 2 == 0 ? AF_INET : AF_INET6);
    std::atomic<bool> over = false;
    Task poller([&] {
      const timespec soon{.tv_sec = 0, .tv_nsec = 1};
      while (!over) {
        pollfd waiting{pair.client.get(), POLLIN, 0};
        ::ppoll(&waiting, 1, &soon, nullptr);
      }
    });
    Task reader([&] { CHECK(receive_exactly(pair.server.get(), kMessages * message.size()).size() != 0); },
                pair.server.get());
    // As long as the reader has not taken all, each message asks anew who sleeps here.
    for (int sent = 0; sent < kMessages; ++sent) send_all(pair.client.get(), message);
    reader.join();
    over = true;
    poller.join();
  }
  CHECK(accounts.short_circuited() == kConnections);
  CHECK(accounts.redirected_bytes() > 0);
  CHECK(accounts.fallbacks(UP_WHY_THREADS) == 0);
}

TEST_CASE("poll, then recv: an event for every message, and none without") {
  const World world;
  for (const int family : kFamilies) {
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
    const Accounts accounts(world);
    for (std::uint64_t i = 0; i < 1000; ++i) {
      REQUIRE_FALSE(readable(pair.server.get(), milliseconds(0)));
      send_all(pair.client.get(), bytes_at(i * 100, 100));
      REQUIRE(readable(pair.server.get(), seconds(5)));
      std::string got(200, '\0');
      REQUIRE(::recv(pair.server.get(), got.data(), got.size(), 0) == 100);
      REQUIRE(got.substr(0, 100) == bytes_at(i * 100, 100));
    }
    CHECK(accounts.redirected_bytes() > 50000);
  }
}

TEST_CASE("poll before the connection is there, then recv") {
  World world;
  for (const int family : kFamilies) {
    Dialling dialling = dial_into_the_void(world, family);
    bool woken = false;
    Task reader([&] { woken = readable(dialling.client.get(), seconds(20)); });
    REQUIRE(reader.eventually_sleeps_in(SYS_poll));
    world.net.join("b");
    const UniqueFd server = accept_from(dialling.listener.get());
    send_all(server.get(), "first");
    reader.join();
    CHECK(woken);
    CHECK(receive_exactly(dialling.client.get(), 5) == "first");
    exchange(dialling.client.get(), server.get());
  }
}

TEST_CASE("MSG_PEEK shows what the next recv() returns, of redirected bytes too") {
  const World world;
  for (const int family : kFamilies) {
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
    const Accounts accounts(world);
    Random random(3);
    std::uint64_t offset = 0;
    for (int i = 0; i < 500; ++i) {
      const std::size_t size = random.log_uniform(1, 20000);
      send_all(pair.client.get(), bytes_at(offset, size));
      std::string seen(size, '\0');
      REQUIRE(readable(pair.server.get(), seconds(5)));
      const ssize_t peeked = ::recv(pair.server.get(), seen.data(), seen.size(), MSG_PEEK);
      REQUIRE(peeked > 0);
      CHECK(seen.substr(0, static_cast<std::size_t>(peeked)) == bytes_at(offset, static_cast<std::size_t>(peeked)));
      CHECK(receive_exactly(pair.server.get(), size) == bytes_at(offset, size));
      offset += size;
    }
    CHECK(accounts.redirected_bytes() > offset / 4);
  }
}

TEST_CASE("SO_RCVTIMEO ends a recv() that gets nothing, and not one that gets something") {
  const World world;
  const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(pair.client.get(), pair.server.get());
  const timeval patience{.tv_sec = 0, .tv_usec = 50000};
  REQUIRE(::setsockopt(pair.server.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  char byte = 0;
  CHECK(::recv(pair.server.get(), &byte, 1, 0) == -1);
  CHECK(errno == EAGAIN);
  send_all(pair.client.get(), "x");
  CHECK(readable(pair.server.get(), seconds(5)));
  CHECK(::recv(pair.server.get(), &byte, 1, 0) == 1);
  CHECK(byte == 'x');
}

}  // namespace
}  // namespace underpass::test
