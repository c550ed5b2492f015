// SPDX-License-Identifier: Apache-2.0
// The ends of a connection: half-closed, closed with bytes on their way, written to when it is too late.
#include <doctest/doctest.h>

#include <cerrno>

#include "test/netns/accounts.h"
#include "test/support/payload.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr int kFamilies[] = {AF_INET, AF_INET6};

// A connection that is being redirected in both directions.
Pair warm_pair(const World& world, int family) {
  Pair pair = make_pair_between(world.at("a"), world.at("b"), family);
  exchange(pair.client.get(), pair.server.get());
  const auto record = world.pinned.connection(pair.client.get());
  REQUIRE(record);
  REQUIRE(record->dir[UP_CLIENT].redirected_bytes > 0);
  REQUIRE(record->dir[UP_SERVER].redirected_bytes > 0);
  return pair;
}

std::string bytes_at(std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  Payload(21).fill(offset, bytes);
  return bytes;
}

void check_at_end(int fd) {
  REQUIRE(readable(fd, seconds(5)));
  char byte = 0;
  CHECK(::recv(fd, &byte, 1, 0) == 0);
}

TEST_CASE("bytes that are queued when the sender closes are all read, then the end") {
  const World world;
  for (const int family : kFamilies) {
    Pair pair = warm_pair(world, family);
    const std::string bytes = bytes_at(0, 500000);
    send_all(pair.client.get(), bytes);
    pair.client.reset();
    CHECK(receive_exactly(pair.server.get(), bytes.size()) == bytes);
    check_at_end(pair.server.get());
  }
}

TEST_CASE("a half-closed direction ends, the other goes on for as long as it likes") {
  const World world;
  for (const int family : kFamilies) {
    Pair pair = warm_pair(world, family);
    send_all(pair.client.get(), bytes_at(0, 100));
    ::shutdown(pair.client.get(), SHUT_WR);
    CHECK(receive_exactly(pair.server.get(), 100) == bytes_at(0, 100));
    check_at_end(pair.server.get());
    for (std::uint64_t i = 0; i < 200; ++i) {
      send_all(pair.server.get(), bytes_at(i * 1000, 1000));
      CHECK(receive_exactly(pair.client.get(), 1000) == bytes_at(i * 1000, 1000));
    }
    send_all(pair.server.get(), bytes_at(0, 300000));
    pair.server.reset();
    CHECK(receive_exactly(pair.client.get(), 300000) == bytes_at(0, 300000));
    check_at_end(pair.client.get());
  }
}

TEST_CASE("a write after shutdown(SHUT_WR) is EPIPE, and nothing of it arrives") {
  const World world;
  for (const int family : kFamilies) {
    Pair pair = warm_pair(world, family);
    ::shutdown(pair.client.get(), SHUT_WR);
    CHECK(::send(pair.client.get(), "late", 4, MSG_NOSIGNAL) == -1);
    CHECK(errno == EPIPE);
    check_at_end(pair.server.get());
  }
}

TEST_CASE("a write to a peer that has closed ends with ECONNRESET or EPIPE") {
  const World world;
  for (const int family : kFamilies) {
    Pair pair = warm_pair(world, family);
    pair.server.reset();
    ssize_t n = 1;
    CHECK(eventually(seconds(5), [&] { return (n = ::send(pair.client.get(), "late", 4, MSG_NOSIGNAL)) < 0; }));
    CHECK((errno == EPIPE || errno == ECONNRESET));
  }
}

TEST_CASE("an aborted connection ends both sides, and its record") {
  const World world;
  for (const int family : kFamilies) {
    Pair pair = warm_pair(world, family);
    send_all(pair.client.get(), bytes_at(0, 100000));
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    REQUIRE(::setsockopt(pair.client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    pair.client.reset();
    std::string buffer(200000, '\0');
    ssize_t n = 1;
    while (n > 0) n = ::recv(pair.server.get(), buffer.data(), buffer.size(), 0);
    CHECK(n == -1);
    CHECK(errno == ECONNRESET);
    pair.server.reset();
    CHECK(eventually(seconds(5), [&] { return world.pinned.entries("up_conns") == 0; }));
    CHECK(eventually(seconds(5), [&] { return world.pinned.budget_used(0) == 0; }));
  }
}

}  // namespace
}  // namespace underpass::test
