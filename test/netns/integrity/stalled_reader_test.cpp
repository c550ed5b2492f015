// SPDX-License-Identifier: Apache-2.0
// Readers that do not read. What is queued is bounded in bytes and in the kernel's memory, per connection and per node,
// and when they read at last, everything is there.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

#include "test/netns/accounts.h"
#include "test/netns/scenarios/stalled_reader.h"
#include "test/support/kernel_memory.h"
#include "test/support/payload.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

void check_tokens_come_back(const World& world) {
  CHECK(eventually(seconds(10), [&] { return world.pinned.budget_used(0) == 0; }));
  for (const char* name : {"a", "b"}) {
    CHECK(eventually(seconds(10), [&] { return world.pinned.budget_used(world.net.cookie(name)) == 0; }));
  }
}

/*
 * How the memory is measured. `accepted` is exact: every byte that send() took is in one queue or another. The 1 KiB
 * objects are counted in their slab caches, where little else of an idle machine lives, and SO_MEMINFO is exact for
 * what the sockets account. MemAvailable sees everything, other programs too; so the stall is repeated and the least
 * growth is taken: the kernel's own share is in every one of them.
 */
TEST_CASE("a reader that does not read is sent a bounded amount, also one byte at a time") {
  const World world;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const std::size_t message : {std::size_t{65536}, std::size_t{1000}, std::size_t{1}}) {
      CAPTURE(family);
      CAPTURE(message);
      std::uint64_t least_growth = ~0ull;
      for (int attempt = 0; attempt < 12 && least_growth >= 16 * kMiB; ++attempt) {
        const Accounts accounts(world);
        std::uint64_t held = 0;
        const StallReport report =
            run_stalled_reader(world.at("a"), world.at("b"), family, {.message = message, .stalled = [&](int client) {
                                                                        held = world.pinned.budget_used(0);
                                                                        const auto row = world.ctl.connection(client);
                                                                        CHECK((row && row->way == "short-circuit"));
                                                                      }});
        MESSAGE("messages of " << message << ": " << report.to_string() << "; tokens held " << (held >> 10) << " KiB");
        INFO(report.to_string());
        REQUIRE(report.failure.empty());
        CHECK(report.accepted < 8 * kMiB);
        CHECK(report.sockets < 8 * kMiB);
        CHECK(report.message_objects < 4096);
        CHECK(held > 0);
        CHECK(accounts.redirected_bytes() > 0);
        least_growth = std::min(least_growth, report.unavailable);
      }
      CHECK(least_growth < 16 * kMiB);
      check_tokens_come_back(world);
    }
  }
}

TEST_CASE("many readers that do not read share the node's budget") {
  World world;
  world.agent.stop();
  Agent small(world.sandbox, {.more = {"--node-budget", "1048576"}});
  small.start();
  world.wait_enrolled("shop", "a");
  REQUIRE(eventually(seconds(5), [&] { return world.pinned.config().node_budget == kMiB; }));
  const Accounts accounts(world);
  constexpr int kReaders = 20;
  std::atomic<int> stalled = 0;
  std::atomic<std::uint64_t> most_held = 0;
  std::vector<StallReport> reports(kReaders);
  std::vector<std::thread> threads;
  for (StallReport& report : reports) {
    threads.emplace_back([&] {
      try {
        report = run_stalled_reader(world.at("a"), world.at("b"), AF_INET,
                                    {.message = 16384, .stalled = [&](int) {
                                       // Nobody reads before all have come to a stop.
                                       ++stalled;
                                       (void)eventually(seconds(20), [&] { return stalled == kReaders; });
                                       most_held = std::max(most_held.load(), world.pinned.budget_used(0));
                                     }});
      } catch (const std::exception& e) {
        report.failure = e.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const StallReport& report : reports) CHECK_MESSAGE(report.failure.empty(), report.to_string());
  MESSAGE(kReaders << " stalled readers held " << (most_held >> 10) << " KiB of tokens, limit 1024");
  CHECK(most_held > 0);
  CHECK(most_held <= kMiB);
  CHECK(accounts.fallbacks(UP_WHY_NODE_BUDGET) + accounts.fallbacks(UP_WHY_POD_BUDGET) > 0);
  check_tokens_come_back(world);
}

// A process that takes sockets and does nothing with them: one process may not have as many as we need.
class Idler {
 public:
  Idler() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    ours_.reset(ends[0]);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      ::close(ends[0]);
      hold(ends[1]);
    }
    ::close(ends[1]);
  }
  ~Idler() {
    ours_.reset();
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  Idler(const Idler&) = delete;
  Idler& operator=(const Idler&) = delete;

  void give(UniqueFd fd) const {
    Letter letter;
    cmsghdr* header = CMSG_FIRSTHDR(&letter.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof(number));
    REQUIRE(::sendmsg(ours_.get(), &letter.message, 0) == 1);
  }

 private:
  struct Letter {
    char byte = 0;
    iovec part{.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{.msg_name = nullptr,
                   .msg_namelen = 0,
                   .msg_iov = &part,
                   .msg_iovlen = 1,
                   .msg_control = control.data(),
                   .msg_controllen = control.size(),
                   .msg_flags = 0};
  };
  [[noreturn]] static void hold(int from) {
    for (;;) {
      Letter letter;
      if (::recvmsg(from, &letter.message, 0) <= 0) ::_exit(0);
    }
  }

  UniqueFd ours_;
  pid_t child_ = -1;
};

// What the queues towards stalled readers hold, by the records.
std::uint64_t queued_bytes(const std::vector<UniqueFd>& clients, const World& world) {
  std::uint64_t queued = 0;
  for (const UniqueFd& client : clients) {
    const auto record = world.pinned.connection(client.get());
    if (!record) continue;
    const up_dir& direction = record->dir[UP_CLIENT];
    const auto waiting = static_cast<std::int64_t>(direction.redirected_bytes - direction.seen - direction.drained_at);
    if (waiting > 0) queued += static_cast<std::uint64_t>(waiting);
  }
  return queued;
}

// Each sender sends up to 64 KiB in small messages; what does not fit goes by TCP.
void check_stalled(const World& world, const std::vector<UniqueFd>& clients, std::uint64_t budget) {
  CHECK(world.established(UP_WAY_SHORT_CIRCUIT) >= clients.size());
  const KernelMemory before = kernel_memory();
  const Accounts accounts(world);
  const std::string message(1000, 'x');
  for (const UniqueFd& client : clients)
    for (int i = 0; i < 64 && ::send(client.get(), message.data(), message.size(), MSG_DONTWAIT) > 0;) ++i;
  const std::uint64_t held = world.pinned.budget_used(0), queued = queued_bytes(clients, world);
  const std::uint64_t objects = kernel_memory().message_objects - before.message_objects;
  MESSAGE(clients.size() << " stalled readers: " << (held >> 10) << " KiB of tokens, " << (queued >> 10)
                         << " KiB queued, and " << objects << " objects of 1 KiB; budget " << (budget >> 10) << " KiB");
  CHECK(accounts.redirected_bytes() > budget / 4);
  CHECK(accounts.fallbacks(UP_WHY_NODE_BUDGET) > 0);
  CHECK(held <= budget);
  CHECK(queued + objects * 1024 <= budget + budget / 10);
}

TEST_CASE("ten thousand readers that do not read pin no more than the node's budget") {
  constexpr std::size_t kReaders = 10'000;
  constexpr std::uint64_t kBudget = 64 * kMiB;
  World world;
  world.agent.stop();
  Agent small(world.sandbox, {.more = {"--node-budget", std::to_string(kBudget)}});
  small.start();
  world.wait_enrolled("shop", "a");
  REQUIRE(eventually(seconds(5), [&] { return world.pinned.config().node_budget == kBudget; }));

  // One pod alone gets a quarter of the budget.
  std::vector<UniqueFd> listeners;
  for (const char* pod : {"c", "d", "e", "f", "g"}) {
    world.add_pod("shop", pod);
    world.wait_enrolled("shop", pod);
    listeners.push_back(listen_at(world.at(pod), AF_INET));
  }
  std::vector<UniqueFd> clients(kReaders);
  {
    const Idler idler;
    for (std::size_t i = 0; UniqueFd & client : clients) {
      const UniqueFd& listener = listeners[i++ % listeners.size()];
      client = connect_from(world.at("a"), local_address(listener.get()));
      UniqueFd server = accept_from(listener.get());
      exchange(client.get(), server.get(), 6, 10);
      idler.give(std::move(server));
    }
    check_stalled(world, clients, kBudget);
  }
  clients.clear();
  check_tokens_come_back(world);
}

TEST_CASE("a connection that is closed with a full queue gives its tokens back") {
  const World world;
  for (const bool reader_first : {true, false}) {
    Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
    exchange(pair.client.get(), pair.server.get());
    const std::string bytes(100000, 'x');
    for (int i = 0; i < 10; ++i) {
      if (::send(pair.client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    }
    CHECK(world.pinned.budget_used(0) > 0);
    (reader_first ? pair.server : pair.client).reset();
    (reader_first ? pair.client : pair.server).reset();
    check_tokens_come_back(world);
  }
  CHECK(eventually(seconds(10), [&] { return world.pinned.entries("up_conns") == 0; }));
}

}  // namespace
}  // namespace underpass::test
