// SPDX-License-Identifier: Apache-2.0
// What a hostile worker can do to its agent, and through it to others: garbage, words that are an agent's, wishes for
// other pods, wishes without end, and claims to what is not its own when a new agent comes.
#include <doctest/doctest.h>

#include <csignal>
#include <iterator>
#include <string>

#include "test/netns/hostile/stage.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

struct Bank {
  explicit Bank(const Stage& s)
      : stage(s), pid(s.scene.worker_pid("bank")), pair(make_pair_between(s.at("c"), s.at("out"), AF_INET)) {}

  void check_unharmed() const {
    CHECK(stage.scene.world.ctl.state() == usual_state());
    CHECK(stage.scene.worker_pid("bank") == pid);
    exchange(pair.client.get(), pair.server.get(), 2);
    stage.check_bank_is_served();
  }

  const Stage& stage;
  pid_t pid;
  Pair pair;
};

// The hostile worker is killed, with this in the log, and another comes.
void check_ends_it(const Stage& stage, const std::string& word, const std::string& why) {
  CAPTURE(word);
  const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
  const Dialogue talk(stage.at("a"), local_address(listener.get()));
  const pid_t before = stage.scene.worker_pid("shop");
  talk.tell("say " + word);
  CHECK(eventually(seconds(10), [&] {
    const auto now = stage.scene.worker("shop");
    return now.size() == 1 && now.front() != before;
  }));
  CHECK(stage.scene.world.agent.log().contains(why));
}

TEST_CASE("hostile to its agent: what is no word of a worker's ends it, and nobody else") {
  for (const auto& words : {
           std::pair<std::vector<std::string>, std::string>{{"garbage", R"({"type":"bank"})", R"({"type":"hello"})"},
                                                            "is not understood"},
           {{R"({"type":"drain"})", R"({"type":"forget","netns":"1","reset":true})",
             R"({"type":"config","revision":1,"size":1})"},
            "it says what only an agent says"},
           {{R"({"type":"want","netns":"1","v6":false,"count":-1})",
             R"({"type":"want","netns":"99999999999999999999","v6":false,"count":1})", std::string(40000, '[')},
            "is not understood"},
       }) {
    const Stage stage;
    const Bank bank(stage);
    for (const auto& word : words.first) check_ends_it(stage, word, words.second);
    bank.check_unharmed();
  }
}

TEST_CASE("hostile to its agent: wishes for other pods' sockets are not fulfilled") {
  const Stage stage;
  const Bank bank(stage);
  const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
  const Dialogue talk(stage.at("a"), local_address(listener.get()));
  const std::string of_bank = std::to_string(stage.scene.world.net.cookie("c"));
  for (const std::string& netns : {of_bank, std::to_string(stage.scene.world.net.cookie("out")), std::string("1")}) {
    CAPTURE(netns);
    CHECK(talk.ask(R"(say {"type":"want","netns":")" + netns + R"(","v6":false,"count":5})") == "ok");
    Dial dial = dial_to(local_address(listener.get()));
    dial.netns = netns;
    CHECK(talk.ask(dial.to_string()) == "no-dials");
  }
  // What it was given by nobody it has not got for whom it names.
  CHECK(talk.ask(R"(say {"type":"listeners","netns":")" + of_bank + R"(","listeners":[]})") == "ok");
  CHECK(talk.ask(R"(say-with-socket {"type":"listeners","netns":")" + of_bank +
                 R"(","listeners":[{"direction":"outbound","v6":false}]})") == "ok");
  CHECK(talk.ask(R"(say {"type":"report","connections":18446744073709551615,"accepted":0,"ended":{},"acceptPauses":0,)"
                 R"("paused":true,"logLinesLost":0,"dials":{")" +
                 of_bank + R"(":[0,0]}})") == "ok");
  CHECK(talk.ask("peer").starts_with("id="));
  bank.check_unharmed();
}

TEST_CASE("hostile to its agent: wishes without end do not keep it from others") {
  const Stage stage;
  const Bank bank(stage);
  const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
  const std::string want = R"({"type":"want","netns":")" + std::to_string(stage.scene.world.net.cookie("a")) +
                           R"(","v6":false,"count":18446744073709551615})";
  const Dialogue talk(stage.at("a"), local_address(listener.get()));
  talk.tell("flood 1000000 " + want);
  const auto until = Clock::now() + seconds(3);
  while (Clock::now() < until) {
    const auto begun = Clock::now();
    bank.check_unharmed();
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
    CAPTURE(took.count());
    CHECK(took < seconds(3));
    // Nor does what it does not take lie with the agent.
    const fs::directory_iterator open("/proc/" + std::to_string(stage.scene.world.agent.pid()) + "/fd");
    CHECK(std::distance(begin(open), end(open)) < 2000);
  }
}

TEST_CASE("hostile to its agent: a new one does not believe it what pods it has") {
  for (const char* how : {"claim ", "lie "}) {
    CAPTURE(how);
    Stage stage;
    const Bank bank(stage);
    const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
    auto& world = stage.scene.world;
    const auto worker_before = world.pinned.worker(world.net.cookie("c"));
    REQUIRE(worker_before);
    const Dialogue talk(stage.at("a"), local_address(listener.get()));
    CHECK(talk.ask(how + std::to_string(world.net.cookie("c"))) == "ok");
    CHECK(talk.ask(how + std::to_string(world.net.cookie("out"))) == "ok");
    CHECK(talk.ask(how + std::to_string(world.net.cookie("a"))) == "ok");
    const pid_t pid = stage.scene.worker_pid("shop");
    world.agent.kill9();
    world.agent.start();
    CHECK(eventually(seconds(10), [&] { return world.agent.log().contains("worker-adopted worker=shop"); }));
    CHECK(stage.scene.worker_pid("shop") == pid);
    // Whatever it said is heard before what a new pod of its namespace needs.
    stage.scene.add("shop", "d", {});
    stage.scene.wait_captured("d");
    bank.check_unharmed();
    const auto worker_after = world.pinned.worker(world.net.cookie("c"));
    REQUIRE(worker_after);
    CHECK(worker_after->number == worker_before->number);
    CHECK(world.pinned.worker(world.net.cookie("a"))->number != worker_after->number);
    CHECK_FALSE(world.pinned.worker(world.net.cookie("out")));
    CHECK(talk.ask("peer").starts_with("id="));
    // What it handed back for its own pod was no listener of that pod, and the next worker does not get it for one.
    ::kill(pid, SIGKILL);
    CHECK(eventually(seconds(10), [&] {
      const auto now = stage.scene.worker("shop");
      return now.size() == 1 && now.front() != pid;
    }));
    const Dialogue with_next(stage.at("a"), local_address(listener.get()));
    CHECK(with_next.ask("peer").starts_with("id="));
  }
}

TEST_CASE("hostile to its agent: a worker that neither hears nor says anything is given up by a new one") {
  Stage stage;
  const Bank bank(stage);
  const UniqueFd listener = listen_at(stage.at("out"), AF_INET);
  const pid_t pid = stage.scene.worker_pid("shop");
  {
    const Dialogue talk(stage.at("a"), local_address(listener.get()));
    CHECK(talk.ask("mute") == "ok");
  }
  stage.scene.world.agent.kill9();
  stage.scene.world.agent.start();
  bank.check_unharmed();
  CHECK(eventually(seconds(20), [&] {
    const auto now = stage.scene.worker("shop");
    return now.size() == 1 && now.front() != pid;
  }));
  bank.check_unharmed();
}

}  // namespace
}  // namespace underpass::test
