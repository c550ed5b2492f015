// SPDX-License-Identifier: Apache-2.0
// Mode `auto`: a workload is watched, then short-circuited or left on TCP; and what happens when it turns out to be
// another than it seemed.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <chrono>
#include <iostream>
#include <thread>
#include <utility>

#include "test/netns/accounts.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

const Settings kAuto{.mesh = "enabled"};

std::string mode_of(const World& world, const std::string& pod) {
  const auto row = world.ctl.pod(pod);
  return row ? row->short_circuit : "";
}

// Connections of a and b, each used once in this way, until the agent has made up its mind of one of them or both.
using Use = std::function<void(const Pair&)>;
void teach(const World& world, const Use& use, const std::string& a = "a", const std::string& b = "b") {
  const bool decided = eventually(seconds(20), [&] {
    const Pair pair = make_pair_between(world.at(a), world.at(b), AF_INET);
    use(pair);
    const auto mode_a = mode_of(world, "shop/" + a), mode_b = mode_of(world, "shop/" + b);
    return mode_a == "off" || mode_b == "off" || (mode_a == "on" && mode_b == "on");
  });
  CHECK_MESSAGE(decided, world.agent.log());
}

const Use kHarmless = [](const Pair& pair) { exchange(pair.client.get(), pair.server.get()); };

std::string reason_of(const World& world, const std::string& pod) {
  const auto rows = world.ctl.json({"pods"});
  for (const auto& row : rows.as_array())
    if (text_of(row.at("namespace")) + "/" + text_of(row.at("name")) == pod)
      return text_of(row.at("shortCircuitReason"));
  return "";
}

// What `underpassctl status` says of splice() and FIONREAD: result and reason.
std::pair<std::string, std::string> call_watch_of(const World& world) {
  const auto status = world.ctl.json({"status"});
  for (const auto& row : status.at("capabilities").as_array())
    if (text_of(row.at("name")) == "call-watch") return {text_of(row.at("result")), text_of(row.at("reason"))};
  return {};
}

TEST_CASE("auto: where splice() cannot be seen nothing is learned, and pods and status say why") {
  if (call_watch_of(World(kAuto)).second.contains("seen by fentry")) {
    std::cout << "SKIPPED: auto, where splice() cannot be seen: this kernel has fentry\n";
    return;
  }
  World world(kAuto, "degraded", {.watchpoints = "never"});
  CHECK(call_watch_of(world).first == "tcp");
  const auto status = world.ctl.json({"status"});
  CHECK(boost::json::serialize(status.at("reasons")).contains("mode auto stays on TCP"));
  CHECK(mode_of(world, "shop/a") == "off");
  CHECK(reason_of(world, "shop/a").contains("cannot be seen"));
  for (int i = 0; i < 20; ++i) CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "direct");
  CHECK(world.redirected() == 0);
  // Of no concern to a node on which nobody asks for it.
  world.objects.put(NamespaceObject{"shop"});
  CHECK(eventually(seconds(10), [&] { return world.ctl.state() == "ready"; }));
}

TEST_CASE("watchpoints that an earlier agent set go when the next one wants none") {
  World world;  // in mode on, so that calls are watched
  if (call_watch_of(world).second.contains("seen by fentry")) {
    std::cout << "SKIPPED: watchpoints of an earlier agent: this kernel has fentry\n";
    return;
  }
  const auto watched = [&] {
    return std::ranges::any_of(fs::directory_iterator(world.sandbox.pins()), [](const fs::directory_entry& entry) {
      return entry.path().filename().string().starts_with("link_call_");
    });
  };
  CHECK(watched());
  world.agent.kill9();
  Agent next(world.sandbox, {.watchpoints = "never"});
  next.start();
  CHECK_FALSE(watched());
  CHECK(call_watch_of(world).first == "tcp");
}

TEST_CASE("auto: direct while it learns, then short-circuited, and remembered over a restart of the agent") {
  World world(kAuto);
  CHECK(mode_of(world, "shop/a") == "learning");
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "direct");
  teach(world, kHarmless);
  CHECK(mode_of(world, "shop/a") == "on");
  CHECK(mode_of(world, "shop/b") == "on");
  const Accounts accounts(world);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  CHECK(accounts.redirected_bytes() > 0);

  world.agent.kill9();
  world.agent.start();
  CHECK(mode_of(world, "shop/a") == "on");
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
}

TEST_CASE("auto: connections that end after a message are left on TCP, until one carries more") {
  World world(kAuto);
  teach(world, kHarmless);
  const auto ask_once = [&] {
    const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
    send_all(pair.client.get(), "?");
    CHECK(receive_exactly(pair.server.get(), 1) == "?");
    send_all(pair.server.get(), "!");
    CHECK(receive_exactly(pair.client.get(), 1) == "!");
  };
  const Accounts before(world);
  for (int i = 0; i < 64; ++i) ask_once();
  CHECK(before.fallbacks(UP_WHY_BRIEF) == 0);
  const Accounts brief(world);
  for (int i = 0; i < 160; ++i) ask_once();
  INFO(world.agent.log());
  CHECK(brief.fallbacks(UP_WHY_BRIEF) == 150);  // one in sixteen is a probe
  CHECK(brief.short_circuited() == 10);

  // The next ones carry more: the first of them is noticed when it is over.
  for (int i = 0; i < 2; ++i) kHarmless(make_pair_between(world.at("a"), world.at("b"), AF_INET));
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
  // Whoever says `on` is not second-guessed.
  world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "on"}});
  CHECK(eventually(seconds(5), [&] { return reason_of(world, "shop/a") == "annotation on Namespace"; }));
  const Accounts on(world);
  for (int i = 0; i < 100; ++i) ask_once();
  CHECK(on.short_circuited() == 100);
}

TEST_CASE("auto: a workload is its image too: a new one is watched anew") {
  World world(kAuto);
  teach(world, kHarmless);
  PodObject pod = world.pod_object("shop", "a");
  pod.image = "app:2";
  world.objects.put(pod);
  CHECK(eventually(seconds(5), [&] { return mode_of(world, "shop/a") == "learning"; }));
  CHECK(mode_of(world, "shop/b") == "on");
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "direct");
}

TEST_CASE("auto: what a short circuit cannot carry is seen while learning, and keeps the workload on TCP") {
  struct Case {
    const char* name;
    Use use;
  };
  const auto send_then = [](const std::function<void(int server)>& read) {
    return [read](const Pair& pair) {
      send_all(pair.client.get(), "0123456789");
      REQUIRE(readable(pair.server.get(), seconds(5)));
      read(pair.server.get());
    };
  };
  std::string buffer(100, '\0');
  const std::vector<Case> cases{
      {"waitall", send_then([&](int fd) { CHECK(::recv(fd, buffer.data(), 10, MSG_WAITALL) == 10); })},
      {"blocking", send_then([&](int fd) { CHECK(::recv(fd, buffer.data(), 100, 0) == 10); })},
      {"splice", send_then([&](int fd) {
         std::array<int, 2> pipe{};
         REQUIRE(::pipe(pipe.data()) == 0);
         const UniqueFd out(pipe[0]), in(pipe[1]);
         CHECK(::splice(fd, nullptr, in.get(), nullptr, 100, 0) == 10);
       })},
      {"fionread", send_then([&](int fd) {
         int count = 0;
         CHECK(::ioctl(fd, FIONREAD, &count) == 0);
         CHECK(count == 10);
         CHECK(::recv(fd, buffer.data(), 100, MSG_DONTWAIT) == 10);
       })},
      {"rcvlowat", send_then([&](int fd) {
         CHECK(::recv(fd, buffer.data(), 100, MSG_DONTWAIT) == 10);
         set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 20);
       })},
      {"unread-close", send_then([&](int fd) { CHECK(::recv(fd, buffer.data(), 5, MSG_DONTWAIT) == 5); })},
      {"urgent",
       [&](const Pair& pair) {
         REQUIRE(::send(pair.client.get(), "ab!", 3, MSG_OOB) == 3);
         REQUIRE(readable(pair.server.get(), seconds(5)));
         CHECK(::recv(pair.server.get(), buffer.data(), 100, MSG_DONTWAIT) == 2);
       }},
  };
  World world(kAuto);
  for (const auto& [name, use] : cases) {
    CAPTURE(name);
    const std::string client = std::string(name) + "-c", server = std::string(name) + "-s";
    world.add_pod("shop", client);
    world.add_pod("shop", server);
    world.wait_enrolled("shop", client, "");
    world.wait_enrolled("shop", server, "");
    teach(world, use, client, server);
    CHECK(mode_of(world, "shop/" + server) == "off");
    CHECK_MESSAGE(reason_of(world, "shop/" + server).contains(name), reason_of(world, "shop/" + server));
    CHECK(way_of_new_connection(world, world.at(client), world.at(server)) == "direct");
  }
  CHECK(world.redirected() == 0);
}

TEST_CASE("auto: an end that comes while a recv() is on its way out leaves no byte unseen") {
  World world(kAuto);
  // It asks all the time, so that now and then it is at it while the end comes.
  const auto read_to_the_end = [](int fd) {
    std::array<char, 100> buffer{};
    ssize_t got = 0;
    do got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    while (got > 0 || (got < 0 && errno == EAGAIN));
  };
  const auto end = [](int fd, bool by_reset) {
    const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
    CHECK((by_reset ? ::connect(fd, &nobody, sizeof(nobody)) : ::shutdown(fd, SHUT_WR)) == 0);
  };
  int used = 0;
  const auto use = [&](const Pair& pair) {
    std::thread reader([&] { read_to_the_end(pair.server.get()); });
    for (int i = 0; i < 5; ++i) send_all(pair.client.get(), "word");
    end(pair.client.get(), used % 2 == 0);
    reader.join();
    ++used;
  };
  const auto deadline = std::chrono::steady_clock::now() + seconds(15);
  while (std::chrono::steady_clock::now() < deadline) {
    for (int i = 0; i < 50; ++i) use(make_pair_between(world.at("a"), world.at("b"), AF_INET));
    // The client never reads: of these two there is always one to learn from.
    for (const char* pod : {"shop/a", "shop/b"})
      REQUIRE_MESSAGE(mode_of(world, pod) != "off", pod, " after ", used, ": ", reason_of(world, pod));
  }
  std::cout << used << " connections ended while they were read\n";
}

TEST_CASE("auto: a workload that splices after all loses its short circuit at once, and no byte") {
  World world(kAuto);
  teach(world, kHarmless);
  const Pair first = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(first.client.get(), first.server.get());
  const Pair other = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(other.client.get(), other.server.get());
  REQUIRE(world.ctl.connection(other.client.get())->way == "short-circuit");

  set_nonblocking(first.server.get(), true);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const UniqueFd out(pipe[0]), in(pipe[1]);
  CHECK(::splice(first.server.get(), nullptr, in.get(), nullptr, 100, 0) == -1);
  CHECK(errno == EAGAIN);

  CHECK(eventually(seconds(5), [&] { return mode_of(world, "shop/b") == "off"; }));
  CHECK(world.agent.log().contains("late=true"));
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "direct");
  for (const Pair* pair : {&first, &other}) {
    exchange(pair->client.get(), pair->server.get(), 50, 1000);
    CHECK(eventually(seconds(5), [&] { return world.ctl.connection(pair->client.get())->way == "direct"; }));
  }
}

TEST_CASE("auto: a first splice() over redirected bytes costs its connection, is counted, and is the last") {
  World world(kAuto);
  teach(world, kHarmless);
  const Pair pair = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(pair.client.get(), pair.server.get());
  const Pair bystander = make_pair_between(world.at("a"), world.at("b"), AF_INET);
  exchange(bystander.client.get(), bystander.server.get());
  set_nonblocking(pair.server.get(), true);
  send_all(pair.client.get(), "redirected");
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const UniqueFd out(pipe[0]), in(pipe[1]);
  CHECK(::splice(pair.server.get(), nullptr, in.get(), nullptr, 100, 0) == -1);
  CHECK(eventually(seconds(5), [&] { return get_option(pair.client.get(), SOL_SOCKET, SO_ERROR) == ECONNRESET; }));
  CHECK(world.pinned.stats().resets[UP_WHY_SPLICE] == 1);
  CHECK(eventually(seconds(5), [&] { return mode_of(world, "shop/b") == "off"; }));
  exchange(bystander.client.get(), bystander.server.get(), 50, 1000);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "direct");
}

TEST_CASE("auto: relearn forgets") {
  World world(kAuto);
  teach(world, kHarmless);
  CHECK(world.ctl.run({"relearn", "shop/a"}).exit.ok());
  CHECK(mode_of(world, "shop/a") == "learning");
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "direct");
  teach(world, kHarmless);
  CHECK(way_of_new_connection(world, world.at("a"), world.at("b")) == "short-circuit");
}

}  // namespace
}  // namespace underpass::test
