// SPDX-License-Identifier: Apache-2.0
// What a traffic thread makes of requests that go wrong, or of too many.
#include <doctest/doctest.h>

#include <string>

#include "test/unit/proxy_http_stage.h"

namespace underpass::test {
namespace {

using telemetry::RequestFlag;

void ask(const UniqueFd& client, const std::string& path) {
  const std::string request = "GET " + path + " HTTP/1.1\r\nhost: shop\r\n\r\n";
  require(::send(client.get(), request.data(), request.size(), MSG_NOSIGNAL) == ssize(request), "send");
}

// An answer's first bytes, when they are there.
std::string answer(HttpStage& stage, const UniqueFd& client, const std::function<void()>& turn = {}) {
  std::string heard;
  stage.turn_until([&] { return !(heard += HttpStage::heard(client)).empty(); }, turn);
  return heard.substr(0, 12);
}

TEST_CASE("http traffic: a stream that its server reset is nobody's afterwards") {
  StageServer first, second;
  HttpStage stage({{first.port(), PortProtocol::kHttp2}, {second.port(), PortProtocol::kHttp2}});
  const auto turn = [&] {
    first.turn();
    second.turn();
  };
  const auto one = stage.connect(first.port()), other = stage.connect(second.port());
  ask(one, "/reset");
  REQUIRE(stage.turn_until([&] { return first.asked.contains("/reset"); }, turn));
  first.reset("/reset");
  CHECK(answer(stage, one, turn) == "HTTP/1.1 503");
  CHECK(stage.ended.back().flag == RequestFlag::kUpstreamReset);

  // Its place in memory is the next request's, of another server.
  ask(other, "/wait");
  REQUIRE(stage.turn_until([&] { return second.asked.contains("/wait"); }, turn));
  first.close();
  stage.turn_until([&] { return stage.traffic.upstreams_open() == 1; }, turn);
  second.answer("/wait");
  CHECK(answer(stage, other, turn) == "HTTP/1.1 200");
  CHECK(stage.ended.size() == 2);
  CHECK(stage.ended.back().flag == RequestFlag::kNone);
}

TEST_CASE("http traffic: clients of HTTP/1 share a connection to a server whose port is HTTP/2's") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  const auto one = stage.connect(server.port()), two = stage.connect(server.port());
  ask(one, "/one");
  ask(two, "/two");
  REQUIRE(stage.turn_until([&] { return server.asked.size() == 2; }, [&] { server.turn(); }));
  server.answer("/two");
  CHECK(answer(stage, two, [&] { server.turn(); }) == "HTTP/1.1 200");
  server.answer("/one");
  CHECK(answer(stage, one, [&] { server.turn(); }) == "HTTP/1.1 200");
  CHECK(server.connections == 1);
}

TEST_CASE("http traffic: a server that goes in the middle is 503, told once") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  const auto client = stage.connect(server.port());
  ask(client, "/gone");
  REQUIRE(stage.turn_until([&] { return server.asked.size() == 1; }, [&] { server.turn(); }));
  server.close();
  CHECK(answer(stage, client) == "HTTP/1.1 503");
  REQUIRE(stage.ended.size() == 1);
  CHECK(stage.ended[0].flag == RequestFlag::kUpstreamGone);
  CHECK(stage.ended[0].status == 503);
}

// A connection of which something else happens between what is sent and what is done next: its thread waits for a
// processor.
class Slow final : public net::Transport {
 public:
  Slow(std::unique_ptr<net::Transport> real, std::function<void()> meanwhile)
      : real_(std::move(real)), meanwhile_(std::move(meanwhile)) {}
  bool watch(std::uint32_t events, net::Watcher& watcher) override { return real_->watch(events, watcher); }
  bool rewatch(std::uint32_t events, net::Watcher& watcher) override { return real_->rewatch(events, watcher); }
  void unwatch() override { real_->unwatch(); }
  ssize_t receive(char* to, std::size_t most) override { return real_->receive(to, most); }
  ssize_t peek(char* to, std::size_t most) override { return real_->peek(to, most); }
  ssize_t send(const char* bytes, std::size_t size) override {
    const ssize_t sent = real_->send(bytes, size);
    meanwhile_();
    return sent;
  }
  int shut_write() override { return real_->shut_write(); }
  int take_error() override { return real_->take_error(); }
  void close(bool in_order) override { real_->close(in_order); }

 private:
  const std::unique_ptr<net::Transport> real_;
  const std::function<void()> meanwhile_;
};

TEST_CASE("http traffic: a server that has gone is not asked, though the next request is read before that is told") {
  const std::string kPost = "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 2\r\n\r\nhi";
  const std::string kOk = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
  const auto say = [](const UniqueFd& to, const std::string& bytes) {
    require(::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == ssize(bytes), "send");
  };
  const UniqueFd listener = listen_on_loopback();
  HttpStage stage({{place_of(listener.get()).port, PortProtocol::kHttp1}});
  UniqueFd server, client;
  const auto meanwhile = [&] {
    if (!server) return;
    server.reset();
    say(client, kPost);
  };
  client = stage.connect(place_of(listener.get()).port, PortProtocol::kHttp1,
                         [&](auto real) { return std::make_unique<Slow>(std::move(real), meanwhile); });
  say(client, kPost);
  int connections = 0;
  std::string asked, heard;
  const auto serve = [&] {
    if (!server) {
      server = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      connections += server ? 1 : 0;
    }
    if (server) asked += HttpStage::heard(server);
    if (!asked.ends_with("hi")) return;
    asked.clear();
    say(server, kOk);
  };
  CHECK(stage.turn_until([&] { return (heard += HttpStage::heard(client)).size() > 2 * kOk.size(); }, serve));
  CHECK_MESSAGE(!heard.contains("503"), heard);
  CHECK(connections >= 2);
}

TEST_CASE("http traffic: a server that speaks or goes before it is asked is 503") {
  for (const std::string greeting : {"", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"}) {
    CAPTURE(greeting);
    const UniqueFd listener = listen_on_loopback();
    HttpStage stage({{place_of(listener.get()).port, PortProtocol::kHttp1}});
    const auto client = stage.connect(place_of(listener.get()).port, PortProtocol::kHttp1);
    ask(client, "/");
    std::vector<UniqueFd> servers;
    const auto greet = [&] {
      UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!server || greeting.empty()) return;
      require(::send(server.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL) == ssize(greeting), "send");
      servers.push_back(std::move(server));
    };
    CHECK(answer(stage, client, greet) == "HTTP/1.1 503");
    REQUIRE(stage.ended.size() == 1);
    CHECK(stage.ended[0].flag == RequestFlag::kUpstreamGone);
  }
}

TEST_CASE("http traffic: who waits for a connection that has no room is not left behind when it ends") {
  constexpr std::size_t kRoom = 100, kMore = 20;  // streams at once: RFC 9113 §6.5.2 asks for no fewer
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  const auto turn = [&] { server.turn(); };
  std::vector<UniqueFd> clients;
  for (std::size_t i = 0; i < kRoom + kMore; ++i) {
    clients.push_back(stage.connect(server.port()));
    ask(clients.back(), "/" + std::to_string(i));
  }
  REQUIRE(stage.turn_until([&] { return server.asked.size() == kRoom; }, turn));
  REQUIRE(server.connections == 1);
  server.close();
  CHECK(stage.turn_until([&] { return server.asked.size() == kRoom + kMore; }, turn));
  CHECK(stage.ended.size() == kRoom);
  CHECK(server.connections == 2);
}

TEST_CASE("http traffic: a client that goes in the middle takes its request with it, and nobody else's") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  auto gone = stage.connect(server.port());
  const auto stays = stage.connect(server.port());
  ask(gone, "/gone");
  ask(stays, "/stays");
  REQUIRE(stage.turn_until([&] { return server.asked.size() == 2; }, [&] { server.turn(); }));
  server.answer("/stays");
  gone.reset();
  CHECK(answer(stage, stays, [&] { server.turn(); }) == "HTTP/1.1 200");
}

TEST_CASE("http traffic: the threads that there are share what requests there may be") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}}, {.max_requests_per_worker = 2}, 2);
  const auto turn = [&] { server.turn(); };
  const auto first = stage.connect(server.port()), second = stage.connect(server.port());
  ask(first, "/first");
  REQUIRE(stage.turn_until([&] { return server.asked.size() == 1; }, turn));
  ask(second, "/second");
  CHECK(answer(stage, second, turn) == "HTTP/1.1 503");
}

TEST_CASE("http traffic: more requests than there may be, or no memory: new ones get 503, the others go on") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}}, {.max_requests_per_worker = 1});
  const auto turn = [&] { server.turn(); };
  const auto first = stage.connect(server.port()), second = stage.connect(server.port());
  ask(first, "/first");
  REQUIRE(stage.turn_until([&] { return server.asked.size() == 1; }, turn));
  ask(second, "/second");
  CHECK(answer(stage, second, turn) == "HTTP/1.1 503");
  CHECK(stage.ended.back().flag == RequestFlag::kOverload);
  server.answer("/first");
  CHECK(answer(stage, first, turn) == "HTTP/1.1 200");

  stage.memory_short = true;
  ask(first, "/third");
  CHECK(answer(stage, first, turn) == "HTTP/1.1 503");
  stage.memory_short = false;
  ask(first, "/fourth");
  REQUIRE(stage.turn_until([&] { return server.asked.contains("/fourth"); }, turn));
  server.answer("/fourth");
  CHECK(answer(stage, first, turn) == "HTTP/1.1 200");
}

TEST_CASE("http traffic: a head that does not become whole, and a client that never asks") {
  HttpStage stage({{80, PortProtocol::kHttp1}}, {.request_headers_timeout = milliseconds(30),
                                                 .keep_alive_timeout = milliseconds(200),
                                                 .detection_timeout = milliseconds(1)});
  const auto slow = stage.connect(80, PortProtocol::kHttp1), idle = stage.connect(80, PortProtocol::kHttp1);
  require(::send(slow.get(), "GET / HT", 8, 0) == 8, "send");
  const auto look = [&] { stage.traffic.sweep(); };
  CHECK(stage.turn_until([&] { return HttpStage::heard(slow).starts_with("HTTP/1.1 408"); }, look));
  CHECK(stage.ended.size() == 1);
  CHECK(stage.ended.back().flag == RequestFlag::kHeadTimeout);
  CHECK(stage.turn_until([&] { return stage.closed.size() == 1; }, look));
  CHECK(stage.closed[0] == "-");
  REQUIRE(::shutdown(slow.get(), SHUT_WR) == 0);
  CHECK(stage.turn_until([&] { return stage.closed.size() == 2; }, look));
  CHECK(stage.closed[1] == "SI");
  CHECK(stage.traffic.is_empty());
}

TEST_CASE("http traffic: what is no HTTP is given back untouched, a silent client after a while") {
  HttpStage stage({}, {.detection_timeout = milliseconds(20)});
  const auto speaks = stage.connect(80), silent = stage.connect(80);
  require(::send(speaks.get(), "SSH-2.0-x\r\n", 11, 0) == 11, "send");
  CHECK(stage.turn_until([&] { return stage.relayed.size() == 1; }));
  CHECK(HttpStage::heard(*stage.relayed[0]) == "SSH-2.0-x\r\n");
  CHECK(stage.turn_until([&] { return stage.relayed.size() == 2; }));
  CHECK(stage.traffic.is_empty());
}

TEST_CASE("http traffic: a drain lets what is under way end, and says that it was the last") {
  StageServer server;
  HttpStage stage({{server.port(), PortProtocol::kHttp2}});
  const auto busy = stage.connect(server.port()), idle = stage.connect(server.port()),
             late = stage.connect(server.port());
  const auto turn = [&] { server.turn(); };
  for (const auto* client : {&idle, &late}) {
    ask(*client, "/before");
    REQUIRE(stage.turn_until([&] { return !server.asked.empty(); }, turn));
    server.answer("/before");
    server.asked.clear();
    REQUIRE(answer(stage, *client, turn) == "HTTP/1.1 200");
  }
  ask(busy, "/busy");
  REQUIRE(stage.turn_until([&] { return server.asked.size() == 1; }, turn));
  stage.traffic.drain(net::Clock::now() + seconds(30));
  // Its request was on its way when the drain began: it is served, and told.
  ask(late, "/late");
  REQUIRE(stage.turn_until([&] { return server.asked.size() == 2; }, turn));
  server.answer("/late");
  std::string last;
  CHECK(stage.turn_until([&] { return (last += HttpStage::heard(late)).contains("(end)"); }, turn));
  CHECK(last.starts_with("HTTP/1.1 200"));
  CHECK(last.contains("connection: close"));
  CHECK(stage.turn_until([&] { return HttpStage::heard(idle).contains("(end)"); },
                         [&] {
                           server.turn();
                           stage.traffic.sweep();
                         }));
  server.answer("/busy");
  std::string heard;
  CHECK(stage.turn_until([&] { return (heard += HttpStage::heard(busy)).contains("(end)"); }, turn));
  CHECK(heard.starts_with("HTTP/1.1 200"));
  CHECK(heard.contains("connection: close"));
}

}  // namespace
}  // namespace underpass::test
