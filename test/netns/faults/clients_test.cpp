// SPDX-License-Identifier: Apache-2.0
// Clients that go, are slow, or send too much: what they did is counted by the flag that says so, others are served,
// and nothing of them stays.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <list>

#include "test/netns/faults/accounts.h"
#include "test/netns/faults/worker_state.h"
#include "test/netns/http/programs.h"
#include "test/netns/http/script_server.h"

namespace underpass::test {
namespace {

const std::string kGet = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n";

ScriptServer::Answer answer_all() {
  return [](Wire& wire, const Message&) {
    wire.send(ok());
    return true;
  };
}

void ask(Wire& client) {
  client.send(kGet);
  CHECK(client.read_answer().status() == 200);
}

TEST_CASE(
    "faults: clients that go in the middle of an upload or of an answer let go of the server, and leave nothing") {
  constexpr std::size_t kRounds = 50;
  const HttpGround ground;
  std::atomic<std::size_t> heads = 0, let_go = 0;
  const std::string block(100000, 'b');
  ScriptServer server(ground.at("b"), [&](ScriptServer&, Wire& wire, std::size_t) {
    const std::string head = wire.read_head();
    ++heads;
    if (head.starts_with("GET")) wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    try {
      for (;;)
        if (head.starts_with("GET")) {
          if (!wire.try_send("186a0\r\n" + block + "\r\n")) break;
        } else {
          (void)wire.read(block.size());
        }
    } catch (const std::exception&) {  // it ended
    }
    ++let_go;
  });
  Wire witness(ground.at("out"), ground.at("b"), server.port());
  const auto round = [&](bool upload, bool by_reset) {
    const std::size_t before = heads;
    std::optional<Wire> client(std::in_place, ground.at("out"), ground.at("b"), server.port());
    client->send(upload ? "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000000\r\n\r\n" + block : kGet);
    REQUIRE(eventually(seconds(10), [&] { return heads > before; }));
    if (!upload) CHECK(client->read_head().starts_with("HTTP/1.1 200"));
    if (by_reset) client->reset();
    client.reset();
    REQUIRE(eventually(seconds(10), [&] { return let_go == heads; }));
  };
  const auto all = [&](std::size_t rounds) {
    for (std::size_t i = 0; i < rounds; ++i)
      for (const bool upload : {false, true})
        for (const bool by_reset : {false, true}) round(upload, by_reset);
  };
  all(5);
  const WorkerState before(ground);
  all(kRounds);
  check_accounts(ground.scene, {{"DC 200", 2 * (kRounds + 5)}, {"DC null", 2 * (kRounds + 5)}});
  before.check_same();
}

TEST_CASE("faults: three hundred clients with a byte of a head at a time get 408 and are counted, others are served") {
  constexpr std::size_t kSlow = 300;
  const HttpGround ground("{proxy: {http: {requestHeadersTimeout: 2s}}}");
  const ScriptServer server(ground.at("b"), answer_all());
  const WorkerState before(ground);
  std::list<Wire> slow;
  // Each says at once that it speaks HTTP: who is silent for a while is relayed as TCP.
  for (std::size_t i = 0; i < kSlow; ++i)
    slow.emplace_back(ground.at("out"), ground.at("b"), server.port()).send(kGet.substr(0, 20));
  Wire fast(ground.at("out"), ground.at("b"), server.port());
  std::size_t asked = 0;
  std::size_t sent = 20;
  std::vector<Wire*> cut;
  // As slow as the loop is: what they say never becomes whole.
  const bool all_cut = eventually(seconds(15), [&] {
    ask(fast);
    ++asked;
    const std::string byte = sent++ < 30 ? "x" : "";
    for (auto& wire : slow) {
      if (std::ranges::find(cut, &wire) != cut.end()) continue;
      if (wire.has_bytes(milliseconds(0)))
        cut.push_back(&wire);
      else if (!byte.empty())
        (void)wire.try_send(byte);
    }
    return cut.size() == kSlow;
  });
  CHECK(all_cut);
  for (auto& wire : slow) {
    const Message answer = wire.read_answer();
    CHECK(answer.status() == 408);
    CHECK(answer.field("connection") == "close");
    wire.close();
  }
  check_accounts(ground.scene, {{"SI 408", kSlow}, {"- 200", asked}});
  before.check_same();
}

TEST_CASE("faults: heads and chunks that are bombs are refused, counted, and no memory goes to them") {
  const HttpGround ground;
  ScriptServer server(ground.at("b"), answer_all());
  const std::string begin = "GET / HTTP/1.1\r\nHost: shop\r\n", large(1000000, 'x');
  std::string many = begin;
  for (int i = 0; i < 1000; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  struct Row {
    std::string sent;
    unsigned status;
  };
  const Row rows[] = {{begin + "X: " + large, 431},
                      {many, 431},
                      {"GET /" + large, 414},
                      {begin + large, 431},
                      {"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n1;" + large, 400},
                      {"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + large, 431}};
  Wire other(ground.at("out"), ground.at("b"), server.port());
  ask(other);
  const WorkerState before(ground);
  Ends wanted{{"- 200", 1}};
  for (int round = 0; round < 10; ++round)
    for (const Row& row : rows) {
      CAPTURE(row.sent.substr(0, 80));
      Wire client(ground.at("out"), ground.at("b"), server.port());
      (void)client.try_send(row.sent);
      CHECK(client.read_answer().status() == row.status);
      ++wanted["DPE " + std::to_string(row.status)];
      ask(other);
      ++wanted["- 200"];
    }
  check_accounts(ground.scene, wanted);
  before.check_same();
  for (const Message& request : server.requests()) CHECK(request.method() == "GET");
}

TEST_CASE("faults: more requests than there may be get 503 and UO, and those that run are not hurt") {
  constexpr std::size_t kMost = 3, kClients = 30;
  const HttpGround ground("{proxy: {threads: 1, http: {maxRequests: 3, maxRequestHeaders: 5}}}");
  std::atomic<bool> may_answer = false;
  std::atomic<std::size_t> asked = 0;
  ScriptServer server(ground.at("b"), [&](Wire& wire, const Message&) {
    ++asked;
    (void)eventually(seconds(10), [&] { return may_answer.load(); });
    wire.send(ok());
    return true;
  });
  // Settings come to a worker that runs, with two threads: they are there when their other half is.
  std::string many = "GET / HTTP/1.1\r\nHost: shop\r\n";
  for (int i = 0; i < 9; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  std::size_t in_force = 0, bombs = 0;
  may_answer = true;
  REQUIRE(eventually(seconds(10), [&] {
    Wire client(ground.at("out"), ground.at("b"), server.port());
    client.send(many + "\r\n");
    const bool is_in_force = client.read_answer().status() == 431;
    if (is_in_force) ++bombs;
    in_force = is_in_force ? in_force + 1 : 0;
    return in_force == 20;
  }));
  may_answer = false;
  const std::size_t before = asked;
  std::list<Wire> clients;
  for (std::size_t i = 0; i < kClients; ++i) {
    clients.emplace_back(ground.at("out"), ground.at("b"), server.port()).send(kGet);
    // One after the other, so that each finds those before it running.
    REQUIRE(eventually(seconds(10), [&] { return clients.back().has_bytes(milliseconds(0)) || asked > before; }));
  }
  const auto refused = [&] {
    return std::ranges::count_if(clients, [](auto& c) { return c.has_bytes(milliseconds(0)); });
  };
  REQUIRE(eventually(seconds(10), [&] { return static_cast<std::size_t>(refused()) + asked - before == kClients; }));
  const std::size_t running = asked - before;
  CHECK(running > 0);
  CHECK(running <= kMost);
  may_answer = true;
  std::size_t good = 0;
  for (Wire& client : clients) good += client.read_answer().status() == 200 ? 1 : 0;
  CHECK(good == running);
  ask(clients.front());
  check_accounts(ground.scene, {{"UO 503", kClients - running}, {"- 200", before + running + 1}, {"DPE 431", bombs}});
}

}  // namespace
}  // namespace underpass::test
