// SPDX-License-Identifier: Apache-2.0
// What a worker makes of its agent's orders, of orders that are none, and of having no agent at all.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/unit/proxy_world.h"

using namespace underpass;
using test::accept_one;
using test::end_of;
using test::eventually;
using test::kLong;
using test::kPod;
using test::ProxyWorld;
using test::receive_exactly;
using test::send_text;

namespace {

struct Scene : ProxyWorld {
  explicit Scene(Options options = {}) : ProxyWorld(options), server(test::listen_on_loopback()) {
    peers.lead_to(test::place_of(server.get()));
  }

  // One connection through the worker, both its ends.
  std::pair<UniqueFd, UniqueFd> carry() {
    auto client = connect();
    send_text(client, "x");
    auto upstream = accept_one(server);
    CHECK(receive_exactly(upstream, 1) == "x");
    return {std::move(client), std::move(upstream)};
  }

  // What the worker answers to a Config with this memfd.
  std::string answer_to(const UniqueFd& fd, std::uint64_t revision, std::uint64_t size) {
    agent->send(worker::Config{.revision = revision, .size = size}, {fd.get()});
    const auto answer = agent->wait_for<worker::Configured>();
    CHECK(answer.revision == revision);
    return answer.cause;
  }
  std::string answer_to(const std::string& text, std::uint64_t revision) {
    return answer_to(test::make_memfd(text), revision, text.size());
  }

  UniqueFd server;
};

constexpr auto kShort = std::chrono::milliseconds(200);
constexpr std::chrono::seconds kPatience(5);  // userspace_proxy/control/worker.cpp

}  // namespace

TEST_CASE("proxy control: a routing table that is not as agreed is refused, and the one in force stays") {
  Scene scene;
  auto table = scene.table;
  table.revision = 5;
  const auto text = to_text(table);
  const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  for (const int missing : {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE})
    CHECK(scene.answer_to(test::make_memfd(text, all & ~missing), 5, text.size()) ==
          "routing table: the memfd is not sealed against every change");
  CHECK(scene.answer_to(scene.folder.open_to_write("file"), 5, 0) == "routing table: the descriptor is no memfd");
  CHECK(scene.answer_to(test::make_memfd(text), 5, text.size() + 1).contains("announced were"));
  CHECK(scene.answer_to("{", 5).starts_with("routing table: not JSON"));
  CHECK(scene.answer_to(text, 6) == "routing table: revision 5, announced was 6");
  auto odd = text;
  odd.replace(odd.find("\"format\":4"), 10, "\"format\":1");
  CHECK(scene.answer_to(odd, 5) == "routing table: format: 1: only 4 is known");
  scene.agent->send(worker::Config{.revision = 5, .size = 1});
  CHECK(scene.agent->wait_for<worker::Configured>().cause == "not one descriptor came with it");

  CHECK(scene.come_as_agent()->wait_for<worker::Hello>().revision == 1);
}

TEST_CASE("proxy control: a routing table must be newer; the same one again is as good as done") {
  Scene scene;
  auto table = scene.table;
  table.revision = 5;
  CHECK(scene.answer_to(to_text(table), 5).empty());
  CHECK(scene.answer_to(to_text(table), 5).empty());
  table.revision = 4;
  CHECK(scene.answer_to(to_text(table), 4) == "revision 4: 5 is in force");
  CHECK(scene.come_as_agent()->wait_for<worker::Hello>().revision == 5);
}

TEST_CASE("proxy control: garbage ends the agent's connection, not the others") {
  const std::vector<std::string> garbage{
      "x",
      "{}",
      R"({"type":"steal"})",
      R"({"type":"drain","now":true})",
      R"({"type":"ready"})",
      R"({"type":"logs"})",
      R"({"type":"listeners","netns":"4711","listeners":[{"inbound":true,"v6":true}]})"};
  for (const auto& text : garbage) {
    CAPTURE(text);
    Scene scene;
    const auto [client, upstream] = scene.carry();
    scene.agent->send_text(text);
    CHECK(eventually(kLong, [&] { return scene.agent->hung_up_on(); }));
    send_text(client, "on");
    CHECK(receive_exactly(upstream, 2) == "on");
    auto next = scene.come_as_agent();
    next->wait_for<worker::Ready>();
    const auto more = scene.carry();
  }
}

TEST_CASE("proxy control: a later agent takes the place of the earlier, and gets its listeners back") {
  Scene scene;
  scene.agent->wait_for<worker::Want>();  // the listener has arrived
  auto later = scene.come_as_agent();
  CHECK(later->wait_for<worker::Hello>().version == UNDERPASS_VERSION);
  std::vector<UniqueFd> fds;
  const auto listeners = later->wait_for<worker::Listeners>(&fds);
  CHECK(listeners.netns == kPod);
  REQUIRE(listeners.listeners.size() == 1);
  CHECK(listeners.listeners[0] == worker::Listener{.direction = UP_INBOUND, .v6 = false});
  REQUIRE(fds.size() == 1);
  CHECK(test::place_of(fds[0].get()).port == scene.listener().port);
  later->wait_for<worker::Ready>();
  CHECK(eventually(kLong, [&] { return scene.agent->hung_up_on(); }));

  const auto carried = scene.carry();
  later->wait_for_report([](const auto& report) { return report.connections == 1 && report.dials.at(kPod).first > 0; });
}

TEST_CASE("proxy control: listeners of a pod that is not in the table are not taken") {
  Scene scene;
  const auto foreign = test::listen_on_loopback();
  scene.agent->send(worker::Listeners{.netns = 1, .listeners = {{.direction = UP_INBOUND, .v6 = false}}},
                    {foreign.get()});
  CHECK(scene.answer_to(to_text(scene.table), 1).empty());  // it has been read
  auto later = scene.come_as_agent();
  CHECK(later->wait_for<worker::Listeners>().netns == kPod);
  later->wait_for<worker::Ready>();
}

TEST_CASE("proxy control: without an agent connections go on, and new ones while there are sockets to dial with") {
  Scene scene({.settings = {.threads = 2}});
  for (int i = 0; i < 2; ++i) scene.agent->wait_for<worker::Want>();
  scene.agent->wait_for_report(
      [](const auto& report) { return report.dials.contains(kPod) && report.dials.at(kPod).first == 16; });
  const auto [client, upstream] = scene.carry();
  scene.agent->wait_for<worker::Report>();
  scene.agent->close();
  send_text(client, "on");
  CHECK(receive_exactly(upstream, 2) == "on");

  // More than one thread has: what one lacks comes from the other.
  std::vector<std::pair<UniqueFd, UniqueFd>> carried;
  for (int i = 0; i < 10; ++i) carried.push_back(scene.carry());
  // When both have none left, who comes waits for the next agent.
  std::vector<UniqueFd> more;
  for (int i = 0; i < 20; ++i) {
    more.push_back(scene.connect());
    send_text(more.back(), "m");
  }
  CHECK(!test::readable(more.back().get(), kShort));
  auto next = scene.come_as_agent();
  for (int i = 0; i < 20; ++i) CHECK(receive_exactly(accept_one(scene.server), 1) == "m");
  const auto again = scene.carry();
}

TEST_CASE("proxy control: who finds no socket to dial with waits for an agent that has just gone, and not for ever") {
  Scene scene({.dials = false});
  const auto waits = scene.connect();
  scene.agent->wait_for<worker::Want>();
  const auto gone = test::Clock::now();
  scene.agent->close();
  CHECK(end_of(waits) == ECONNRESET);
  CHECK(test::Clock::now() - gone >= kPatience);
  CHECK(test::Clock::now() - gone < kPatience + std::chrono::seconds(4));  // before the time to connect is over
  const auto line = scene.next_line();
  CHECK(line.at("flags").as_string() == "UH");
  CHECK(line.at("details").as_string() == "no socket to dial with, and no agent to make one");
  // Nobody is expected any more.
  const auto late = scene.connect();
  const auto came = test::Clock::now();
  CHECK(end_of(late) == ECONNRESET);
  CHECK(test::Clock::now() - came < kPatience);
}

TEST_CASE("proxy control: who finds no socket to dial with waits for one, and not for ever") {
  Scene scene({.settings = {.threads = 1, .connect_timeout = std::chrono::seconds(2)}, .dials = false});
  const auto first = scene.connect();
  const auto second = scene.connect();
  send_text(first, "1");
  send_text(second, "2");
  scene.agent->wait_for<worker::Want>();
  scene.agent->send_dials(false, 1);
  const auto upstream = accept_one(scene.server);
  CHECK(receive_exactly(upstream, 1) == "1");
  CHECK(end_of(second) == ECONNRESET);
  const auto line = scene.next_line();
  CHECK(line.at("flags").as_string() == "UH");
  CHECK(line.at("details").as_string() == "no socket to dial with came in time");
}

TEST_CASE("proxy control: a client that goes while it waits is not waited for") {
  Scene scene({.dials = false});
  auto client = scene.connect();
  scene.agent->wait_for<worker::Want>();
  scene.agent->wait_for_report([](const auto& report) { return report.connections == 1; });
  test::reset(client);
  CHECK(scene.next_flags() == "DC");
  scene.agent->send_dials(false, 2);
  const auto carried = scene.carry();
}

TEST_CASE("proxy control: a pod that is forgotten: its connections may end, or are reset") {
  for (const bool reset : {true, false}) {
    CAPTURE(reset);
    Scene scene({.settings = {.threads = 1, .drain_timeout = std::chrono::milliseconds(1500)}});
    const auto lasting = scene.carry();
    auto ending = scene.carry();
    scene.agent->send(worker::Forget{.netns = kPod, .reset = reset});
    if (!reset) {
      scene.agent->wait_for_report([](const auto& report) { return report.dials.empty(); });
      send_text(ending.first, "bye");
      CHECK(receive_exactly(ending.second, 3) == "bye");
      ending.first.reset();
      ending.second.reset();
      CHECK(scene.next_flags() == "-");
    }
    CHECK(end_of(lasting.first) == ECONNRESET);
    CHECK(end_of(lasting.second) == ECONNRESET);
    CHECK(scene.next_flags() == "DR");
    // Nobody accepts any more; the agent, who has a copy of the listener, may.
    const auto later = scene.connect();
    CHECK(!test::readable(scene.server.get(), kShort));
    auto next = scene.come_as_agent();
    next->wait_for<worker::Ready>();
  }
}

TEST_CASE("proxy control: who was taken in last, and found no socket to dial with, gets one although the worker goes") {
  const worker::Message ends[] = {worker::Drain{}, worker::Forget{.netns = kPod, .reset = false}};
  for (const auto& end : ends) {
    const bool drains = std::holds_alternative<worker::Drain>(end);
    CAPTURE(drains);
    Scene scene({.settings = {.threads = 1}, .dials = false});
    scene.agent->wait_for<worker::Want>();
    const auto client = scene.connect();
    send_text(client, "1");
    scene.agent->wait_for_report([](const auto& report) { return report.connections == 1; });
    scene.agent->send(end);
    // For itself, and for no others, as it had asked before.
    while (scene.agent->wait_for<worker::Want>().count != 1) continue;
    scene.agent->send_dials(false, 1);
    const auto upstream = accept_one(scene.server);
    CHECK(receive_exactly(upstream, 1) == "1");
    CHECK(!scene.drained);
  }
}

TEST_CASE("proxy control: a drain lets connections end, then resets them") {
  Scene scene({.settings = {.threads = 2, .drain_timeout = std::chrono::milliseconds(1500)}});
  const auto lasting = scene.carry();
  auto ending = scene.carry();
  scene.agent->send(worker::Drain{});
  scene.agent->wait_for<worker::Report>();
  send_text(ending.first, "bye");
  CHECK(receive_exactly(ending.second, 3) == "bye");
  ending.first.reset();
  ending.second.reset();
  CHECK(scene.next_flags() == "-");
  CHECK(!scene.drained);
  CHECK(end_of(lasting.first) == ECONNRESET);
  CHECK(end_of(lasting.second) == ECONNRESET);
  CHECK(scene.next_flags() == "DR");
  CHECK(eventually(kLong, [&] { return scene.drained.load(); }));
  scene.agent->wait_for_report(
      [](const auto& report) { return report.connections == 0 && report.ended.at("DR") == 1; });
}

TEST_CASE("proxy control: when descriptors run short accepting pauses, and goes on when some are free") {
  const UniqueFd lowest(::dup(0));
  Scene scene({.accept_limit = lowest.get() + 120});
  std::vector<std::pair<UniqueFd, UniqueFd>> carried;
  const auto is_paused = [&] { return scene.agent->wait_for<worker::Report>().paused; };
  // The test's own ends count too: the process is one.
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 60; ++i) clients.push_back(scene.connect());
  CHECK(eventually(kLong, is_paused));
  const auto waits = scene.connect();
  send_text(waits, "w");
  clients.clear();
  while (test::readable(scene.server.get(), kShort)) {
    const auto upstream = accept_one(scene.server);
    char byte = 0;
    if (::recv(upstream.get(), &byte, 1, 0) == 1) CHECK(byte == 'w');
  }
  const auto report = scene.agent->wait_for_report([](const auto& it) { return !it.paused && it.connections <= 1; });
  CHECK(report.accept_pauses >= 1);
  CHECK(report.accepted == 61);
}
