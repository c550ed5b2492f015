// SPDX-License-Identifier: Apache-2.0
// Calls that go past recv(): splice() and FIONREAD, on connections of mode `on`, early and late. What splice() gets is
// right or the connection is reset; it never skips a byte.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "test/netns/accounts.h"
#include "test/support/payload.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr int kFamilies[] = {AF_INET, AF_INET6};

std::string bytes_at(std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  Payload(33).fill(offset, bytes);
  return bytes;
}

struct Pipe {
  Pipe() {
    std::array<int, 2> fds{};
    REQUIRE(::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    out.reset(fds[0]);
    in.reset(fds[1]);
  }
  UniqueFd out, in;
};

// What splice() takes off the socket until there are `count` bytes, as Go's io.Copy does it; shorter when it fails,
// with errno.
std::string splice_exactly(int fd, std::size_t count) {
  const Pipe pipe;
  std::string got;
  while (got.size() < count) {
    if (!readable(fd, seconds(5))) break;
    const ssize_t n = ::splice(fd, nullptr, pipe.in.get(), nullptr, count - got.size(), SPLICE_F_NONBLOCK);
    if (n < 0 && errno == EAGAIN) {
      errno = 0;
      continue;
    }
    if (n <= 0) break;
    std::string piece(static_cast<std::size_t>(n), '\0');
    REQUIRE(::read(pipe.out.get(), piece.data(), piece.size()) == n);
    got += piece;
  }
  return got;
}

int queued(int fd) {
  int count = -1;
  REQUIRE(::ioctl(fd, FIONREAD, &count) == 0);
  return count;
}

Pair warm_pair(const World& world, int family) {
  Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
  exchange(pair.client.get(), pair.server.get());
  const auto record = world.pinned.connection(pair.client.get());
  REQUIRE(record);
  REQUIRE(record->dir[UP_CLIENT].redirected_bytes > 0);
  set_nonblocking(pair.server.get(), true);  // SPLICE_F_NONBLOCK is about the pipe
  return pair;
}

up_conn record_of(const World& world, const Pair& pair) {
  const auto record = world.pinned.connection(pair.client.get());
  REQUIRE(record);
  return *record;
}

TEST_CASE("a reader that splices from the first byte on stays on TCP and gets every byte") {
  const World world;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const Accounts accounts(world);
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
    for (std::uint64_t i = 0; i < 50; ++i) {
      send_all(pair.client.get(), bytes_at(i * 1000, 1000));
      CHECK(splice_exactly(pair.server.get(), 1000) == bytes_at(i * 1000, 1000));
    }
    CHECK(record_of(world, pair).why == UP_WHY_SPLICE);
    CHECK(accounts.redirected_bytes() == 0);
    CHECK(eventually(seconds(5), [&] { return record_of(world, pair).way == UP_WAY_DIRECT; }));
  }
}

TEST_CASE("a first splice() over an empty queue leads the connection back to TCP, and nothing is lost") {
  const World world;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const Pair pair = warm_pair(world, family);
    const Pipe pipe;
    CHECK(::splice(pair.server.get(), nullptr, pipe.in.get(), nullptr, 100, SPLICE_F_NONBLOCK) == -1);
    CHECK(errno == EAGAIN);
    for (std::uint64_t i = 0; i < 50; ++i) {
      send_all(pair.client.get(), bytes_at(i * 1000, 1000));
      CHECK(splice_exactly(pair.server.get(), 1000) == bytes_at(i * 1000, 1000));
    }
    CHECK(record_of(world, pair).broken == UP_WHY_NONE);
    CHECK(eventually(seconds(5), [&] { return record_of(world, pair).way == UP_WAY_DIRECT; }));
  }
}

TEST_CASE("a first splice() over redirected bytes resets the connection: it never hangs and never skips them") {
  const World world;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const std::uint64_t before = world.pinned.stats().resets[UP_WHY_SPLICE];
    const Pair pair = warm_pair(world, family);
    send_all(pair.client.get(), bytes_at(0, 1000));
    REQUIRE(record_of(world, pair).dir[UP_CLIENT].charge > 0);
    CHECK(splice_exactly(pair.server.get(), 1000).empty());
    CHECK(errno == ECONNABORTED);
    CHECK(eventually(seconds(5), [&] { return ::send(pair.client.get(), "x", 1, MSG_NOSIGNAL) == -1; }));
    CHECK(world.pinned.stats().resets[UP_WHY_SPLICE] == before + 1);
  }
}

TEST_CASE("a splice() at one end does not harm what waits for a slow reader at the other") {
  const World world;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const Pair pair = warm_pair(world, family);
    send_all(pair.server.get(), bytes_at(0, 1000));
    REQUIRE(record_of(world, pair).dir[UP_SERVER].charge > 0);
    const Pipe pipe;
    CHECK(::splice(pair.server.get(), nullptr, pipe.in.get(), nullptr, 100, SPLICE_F_NONBLOCK) == -1);
    CHECK(errno == EAGAIN);
    send_all(pair.server.get(), bytes_at(1000, 1000));
    // Longer than a sweep takes to come round.
    CHECK_FALSE(eventually(milliseconds(2500), [&] { return record_of(world, pair).broken != UP_WHY_NONE; }));
    CHECK(receive_exactly(pair.client.get(), 2000) == bytes_at(0, 2000));
    send_all(pair.client.get(), bytes_at(0, 1000));
    CHECK(splice_exactly(pair.server.get(), 1000) == bytes_at(0, 1000));
  }
}

TEST_CASE("after a splice() no message passes redirected bytes by, agent or no agent") {
  World world;
  const Pair pair = warm_pair(world, AF_INET);
  world.agent.kill9();
  send_all(pair.client.get(), bytes_at(0, 1000));
  const Pipe pipe;
  CHECK(::splice(pair.server.get(), nullptr, pipe.in.get(), nullptr, 5000, SPLICE_F_NONBLOCK) == -1);
  CHECK(::send(pair.client.get(), "later", 5, MSG_NOSIGNAL) == -1);
  CHECK(::splice(pair.server.get(), nullptr, pipe.in.get(), nullptr, 5000, SPLICE_F_NONBLOCK) == -1);
}

TEST_CASE("whoever asks FIONREAD is led back to TCP, where the answer is exact") {
  const World world;
  for (const int family : kFamilies) {
    CAPTURE(family);
    const Pair pair = warm_pair(world, family);
    CHECK(queued(pair.server.get()) == 0);
    CHECK(record_of(world, pair).why == UP_WHY_FIONREAD);
    CHECK(eventually(seconds(5), [&] { return record_of(world, pair).way == UP_WAY_DIRECT; }));
    send_all(pair.client.get(), bytes_at(0, 1000));
    CHECK(eventually(seconds(5), [&] { return queued(pair.server.get()) == 1000; }));
    CHECK(receive_exactly(pair.server.get(), 1000) == bytes_at(0, 1000));
    CHECK(record_of(world, pair).broken == UP_WHY_NONE);
  }
}

TEST_CASE("a close with unread redirected bytes resets, as TCP does") {
  const World world;
  for (const int family : kFamilies) {
    CAPTURE(family);
    Pair pair = warm_pair(world, family);
    send_all(pair.client.get(), bytes_at(0, 1000));
    REQUIRE(record_of(world, pair).dir[UP_CLIENT].charge > 0);
    pair.server.reset();
    const bool reset = eventually(seconds(5), [&] {
      const int error = get_option(pair.client.get(), SOL_SOCKET, SO_ERROR);
      return error == ECONNRESET || error == EPIPE || error == ECONNABORTED;
    });
    CHECK_MESSAGE(reset, world.agent.log());
    CHECK(world.pinned.stats().resets[UP_WHY_UNREAD_CLOSE] > 0);
  }
}

TEST_CASE("a close after everything is read does not") {
  const World world;
  Pair pair = warm_pair(world, AF_INET);
  pair.server.reset();
  REQUIRE(readable(pair.client.get(), seconds(5)));
  char byte = 0;
  CHECK(::recv(pair.client.get(), &byte, 1, 0) == 0);
  CHECK(world.pinned.stats().resets[UP_WHY_UNREAD_CLOSE] == 0);
}

}  // namespace
}  // namespace underpass::test
