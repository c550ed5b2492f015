// SPDX-License-Identifier: Apache-2.0
// When a thread asks for dial sockets, and who gets those that come.
#include <doctest/doctest.h>
#include <unistd.h>

#include <numeric>
#include <vector>

#include "userspace_proxy/control/dial_desk.h"
#include "userspace_proxy/session/dial_stock.h"

using namespace underpass;
using namespace std::chrono_literals;
using control::DialDesk;
using session::DialStock;

namespace {

std::vector<UniqueFd> make(std::size_t count) {
  std::vector<UniqueFd> sockets;
  for (std::size_t i = 0; i < count; ++i) sockets.emplace_back(::dup(0));
  return sockets;
}

constexpr DialStock::Time kStart{1h};

void empty(DialStock& stock, DialStock::Time now) {
  while (stock.size() > 0) stock.take(now);
}

std::vector<std::size_t> sizes(const std::vector<std::vector<UniqueFd>>& hands) {
  std::vector<std::size_t> out;
  for (const auto& hand : hands) out.push_back(hand.size());
  return out;
}

}  // namespace

TEST_CASE("dial stock: asks below half a batch, once, and again after a second without an answer") {
  DialStock stock;
  CHECK(!stock.take(kStart));
  CHECK(stock.ask(0, kStart) == 8);
  CHECK(!stock.ask(0, kStart + 999ms));
  CHECK(stock.ask(0, kStart + 1s) == 8);
  stock.add(make(8), kStart + 2s);
  CHECK(!stock.ask(0, kStart + 2s));
  for (int i = 0; i < 4; ++i) CHECK(stock.take(kStart + 2s));
  CHECK(!stock.ask(0, kStart + 2s));
  CHECK(stock.take(kStart + 2s));
  CHECK(stock.ask(0, kStart + 2s) == 5);
  CHECK(stock.size() == 3);
}

TEST_CASE("dial stock: batches double while one lasts less than a second, up to a bound") {
  DialStock stock;
  auto now = kStart;
  for (const std::uint64_t batch : {8, 16, 32, 64, 128, 128}) {
    CHECK(stock.ask(0, now) == batch);
    stock.add(make(batch), now);
    empty(stock, now + 999ms);
    now += 1s;
  }
  DialStock slow;
  for (int i = 0; i < 3; ++i) {
    CHECK(slow.ask(0, now) == 8);
    slow.add(make(8), now);
    empty(slow, now += 1s);
  }
}

TEST_CASE("dial stock: who waits is asked for too") {
  DialStock stock;
  CHECK(stock.ask(3, kStart) == 11);
  stock.add(make(2), kStart);
  CHECK(stock.ask(1000, kStart) == 126);
  stock.forget_asking();
  CHECK(stock.ask(0, kStart) == 6);
}

TEST_CASE("dial stock: gives half away, and keeps the last one") {
  DialStock stock;
  stock.add(make(5), kStart);
  CHECK(stock.give_half().size() == 2);
  CHECK(stock.size() == 3);
  stock.give_half();
  stock.give_half();
  CHECK(stock.give_half().empty());
  CHECK(stock.size() == 1);
}

TEST_CASE("dial desk: a batch goes to those that asked, in turn; the rest is spread") {
  DialDesk desk;
  desk.want(1, 7, false, 3);
  desk.want(0, 7, false, 2);
  desk.want(2, 7, true, 9);
  CHECK(sizes(desk.deal(3, 7, false, make(5))) == std::vector<std::size_t>{2, 3, 0});
  CHECK(sizes(desk.deal(3, 7, true, make(2))) == std::vector<std::size_t>{0, 0, 2});
  // Answered, if not in full: what comes now was not asked for.
  CHECK(sizes(desk.deal(3, 7, true, make(6))) == std::vector<std::size_t>{2, 2, 2});
  desk.want(1, 7, false, 3);
  desk.want(1, 7, false, 4);
  CHECK(sizes(desk.deal(3, 7, false, make(4))) == std::vector<std::size_t>{0, 4, 0});
  desk.want(1, 7, false, 3);
  desk.forget(7);
  CHECK(sizes(desk.deal(3, 7, false, make(3))) == std::vector<std::size_t>{1, 1, 1});
}
