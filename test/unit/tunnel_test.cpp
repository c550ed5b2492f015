// SPDX-License-Identifier: Apache-2.0
// Both ends of tunnels in one loop, with real sockets and real TLS: what a stream of one is to who has it, and what
// becomes of streams whose tunnel, or whose owner, goes first.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "test/support/sockets.h"
#include "test/support/tasks.h"
#include "test/support/test_ca.h"
#include "underpass/ip_address.h"
#include "userspace_proxy/net/tcp.h"
#include "userspace_proxy/session/http_traffic.h"

namespace underpass::test {
namespace {

using net::Transport;

constexpr NetnsCookie kClientPod = 1, kServerPod = 2;

class NullPeers final : public session::Peers {
 public:
  bool ask(int, up_peer&) override { return false; }
  bool announce(int, std::uint64_t) override { return true; }
  bool announce_errand(int) override { return true; }
  bool announce_client(int, const up_tunnelled&) override { return true; }
};

// Who has one end of a stream: what came, and what is to be said.
struct End final : net::Watcher {
  void take(std::unique_ptr<Transport> stream) {
    transport = std::move(stream);
    (void)transport->watch(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this);
  }
  void on_events(std::uint32_t) override { ++told; }
  void turn() {
    if (!transport || error != 0) return;
    char bytes[8192];
    while (reads && !ended) {
      const ssize_t got = transport->receive(bytes, sizeof(bytes));
      if (got > 0) {
        heard.append(bytes, static_cast<std::size_t>(got));
        continue;
      }
      if (got == 0) ended = true;
      if (got < 0 && errno != EAGAIN) error = errno;
      break;
    }
    while (!to_say.empty()) {
      const ssize_t sent = transport->send(to_say.data(), std::min<std::size_t>(to_say.size(), 16384));
      if (sent <= 0) break;
      to_say.erase(0, static_cast<std::size_t>(sent));
    }
  }

  std::unique_ptr<Transport> transport;
  std::string heard, to_say;
  bool reads = true;
  bool ended = false;
  int error = 0;
  int told = 0;
};

struct User final : session::TunnelUser {
  void on_tunnel(std::unique_ptr<Transport> stream) override { end.take(std::move(stream)); }
  void no_tunnel(session::Flag why, std::string_view text) override {
    flag = why;
    details = text;
  }
  [[nodiscard]] const session::Record& tunnelled() const override { return record; }
  [[nodiscard]] std::uint64_t carried() const override { return 1; }

  session::Record record;
  End end;
  std::optional<session::Flag> flag;
  std::string details;
};

// One node: its traffic, and what it hands over.
class Node final : private session::HttpOwner {
 public:
  Node(net::Loop& loop, NetnsCookie pod, const std::string& identity, const Svid& svid, const std::string& roots,
       milliseconds connect_timeout)
      : table_(table_of(pod, identity, svid, roots, connect_timeout)),
        traffic(loop, buffers_, peers_, *this, memory_short_, routes(), 1) {}

  session::RoutesPtr routes() {
    auto table = table_;
    auto made = maker_.make(table);
    REQUIRE_MESSAGE(made, made.error().message);
    return std::make_shared<const session::Routes>(std::move(table), std::move(*made));
  }

  std::vector<std::pair<session::Record, std::unique_ptr<End>>> came;
  Transport::Answer answers = Transport::Answer::kReached;
  bool answers_late = false;
  session::DialUser* waits = nullptr;  // with has_dials off: who would dial
  bool has_dials = true;

  static void give_dial(session::DialUser& user) {
    user.dial(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
  }

 private:
  static RoutingTable table_of(NetnsCookie pod, const std::string& identity, const Svid& svid, const std::string& roots,
                               milliseconds connect_timeout) {
    RoutingTable out{.revision = 1, .settings = {.threads = 1, .connect_timeout = connect_timeout}};
    out.pods.push_back({.netns = pod, .id = {"shop", "x"}, .identity = identity, .tunnels = true});
    out.identities = {{7, "spiffe://cluster.local/ns/shop/sa/server"}};
    out.certificates = {{identity, {.chain = svid.chain, .key = svid.key}}};
    out.trust_bundle = roots;
    return out;
  }
  void find_dial(session::DialUser& user) override {
    if (has_dials) return give_dial(user);
    waits = &user;
  }
  void forget_dial(session::DialUser&) override {}
  void on_not_http(session::HttpConnection&, std::unique_ptr<Transport>) override {}
  void on_tunnelled(std::unique_ptr<Transport> stream, NetnsCookie, std::uint64_t, session::Record record) override {
    auto& end = *came.emplace_back(std::move(record), std::make_unique<End>()).second;
    end.take(std::move(stream));
    if (!answers_late) end.transport->answer(answers);
  }
  void on_request_ended(const telemetry::RequestRecord&) override {}
  void on_connection_ended(const session::HttpConnection&) override {}

  session::BufferPool buffers_;
  NullPeers peers_;
  std::atomic<bool> memory_short_ = false;
  RoutingTable table_;
  tls::IdentityMaker maker_;

 public:
  session::HttpTraffic traffic;
};

class Tunnels {
 public:
  explicit Tunnels(milliseconds connect_timeout = seconds(20)) {
    (void)std::signal(SIGPIPE, SIG_IGN);  // as main() of a worker does
    const int on = 1;
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    (void)::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    const auto at = net::to_socket_address(address_.to_abi(), htons(UP_TUNNEL_PORT));
    REQUIRE(::bind(listener_.get(), at.get(), at.size) == 0);
    REQUIRE(::listen(listener_.get(), 128) == 0);
    client.emplace(*loop_, kClientPod, ca_.id("shop", "client"), ca_.svid("shop", "client"), ca_.root(),
                   connect_timeout);
    server.emplace(*loop_, kServerPod, ca_.id("shop", "server"), ca_.svid("shop", "server"), ca_.root(),
                   connect_timeout);
  }

  std::unique_ptr<User> open() {
    auto user = std::make_unique<User>();
    up_peer peer{};
    peer.direction = UP_OUTBOUND;
    peer.tunnel = UP_TUNNEL_HBONE;
    peer.server_identity = 7;
    peer.client = IpAddress::parse("127.0.0.1")->to_abi();
    peer.client_port = htons(4711);
    peer.server = address_.to_abi();
    peer.server_port = htons(80);
    user->record = session::Record(peer, kClientPod, *client->routes());
    client->traffic.tunnels().open(*user);
    return user;
  }
  bool turn_until(const std::function<bool()>& done) {
    return eventually(seconds(10), [&] {
      turn();
      return done();
    });
  }
  void turn() {
    accept();
    loop_->run_round(net::Clock::now());
    if (client) client->traffic.end_round();
    if (!server || is_stalled) return;
    server->traffic.end_round();
    for (auto& [record, end] : server->came) end->turn();
  }
  [[nodiscard]] int accepted() const { return accepted_; }
  void sweep() {
    client->traffic.sweep();
    server->traffic.sweep();
  }

 private:
  void accept() {
    for (;;) {
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd || !server) return;
      ++accepted_;
      up_peer peer{};
      peer.id = 9;
      peer.direction = UP_TUNNEL;
      peer.client = IpAddress::parse("127.0.0.1")->to_abi();
      peer.server = address_.to_abi();
      peer.server_port = htons(UP_TUNNEL_PORT);
      server->traffic.take_in_tunnel(std::move(fd), kServerPod, peer);
    }
  }

  static IpAddress new_address() {
    static int last = 0;
    return *IpAddress::parse("127.77." + std::to_string(::getpid() % 250) + "." + std::to_string(++last));
  }

  TestCa ca_;
  IpAddress address_ = new_address();
  UniqueFd listener_;
  std::unique_ptr<net::Loop> loop_ = std::move(net::Loop::make().value());
  int accepted_ = 0;

 public:
  bool is_stalled = false;  // the server's node: it hears and says nothing
  std::optional<Node> client, server;
};

TEST_CASE("tunnel: a stream is reached, carries bytes both ways, and ends in order") {
  Tunnels tunnels;
  const auto user = tunnels.open();
  REQUIRE(tunnels.turn_until([&] { return user->end.transport != nullptr; }));
  REQUIRE(tunnels.server->came.size() == 1);
  auto& [record, far] = tunnels.server->came[0];
  CHECK(record.name(session::Record::kSourceIdentity) == "spiffe://cluster.local/ns/shop/sa/client");
  CHECK(record.name(session::Record::kSourceNamespace) == "shop");
  CHECK(ntohs(record.client_port) == 4711);
  CHECK(ntohs(record.server_port) == 80);
  user->end.to_say = std::string(3 << 20, 'x');
  far->to_say = std::string(2 << 20, 'y');
  CHECK(tunnels.turn_until([&] {
    user->end.turn();
    return far->heard.size() == (3 << 20) && user->end.heard.size() == (2 << 20);
  }));
  CHECK(user->end.transport->shut_write() == 0);
  CHECK(tunnels.turn_until([&] { return far->ended; }));
  far->to_say = "after that";
  CHECK(tunnels.turn_until([&] {
    user->end.turn();
    return user->end.heard.ends_with("after that");
  }));
  far->transport->close(true);
  CHECK(tunnels.turn_until([&] {
    user->end.turn();
    return user->end.ended;
  }));
  CHECK(user->end.error == 0);
}

TEST_CASE("tunnel: what is denied or not reached is told, and the tunnel lives on") {
  Tunnels tunnels;
  tunnels.server->answers = Transport::Answer::kDenied;
  auto user = tunnels.open();
  CHECK(tunnels.turn_until([&] { return user->flag.has_value(); }));
  CHECK(user->flag == session::Flag::kDenied);
  CHECK(user->details == "tunnel: the other node answered 401");
  tunnels.server->answers = Transport::Answer::kUnreachable;
  user = tunnels.open();
  CHECK(tunnels.turn_until([&] { return user->flag.has_value(); }));
  CHECK(user->flag == session::Flag::kConnectFailed);
  tunnels.server->answers = Transport::Answer::kReached;
  user = tunnels.open();
  CHECK(tunnels.turn_until([&] { return user->end.transport != nullptr; }));
  CHECK(tunnels.accepted() == 1);
}

TEST_CASE("tunnel: many share one, up to 128, and then there is another") {
  Tunnels tunnels;
  std::vector<std::unique_ptr<User>> users;
  for (int i = 0; i < 130; ++i) users.push_back(tunnels.open());
  CHECK(tunnels.turn_until(
      [&] { return std::ranges::all_of(users, [](const auto& user) { return user->end.transport != nullptr; }); }));
  CHECK(tunnels.accepted() == 2);
}

TEST_CASE("tunnel: a reader that stands still stops its writer, and nobody else") {
  Tunnels tunnels;
  const auto slow = tunnels.open(), quick = tunnels.open();
  REQUIRE(tunnels.turn_until([&] { return tunnels.server->came.size() == 2 && quick->end.transport; }));
  tunnels.server->came[0].second->reads = false;
  slow->end.to_say = std::string(32 << 20, 's');
  std::size_t before = 0;
  int still = 0;
  CHECK(tunnels.turn_until([&] {
    slow->end.turn();
    still = slow->end.to_say.size() == before ? still + 1 : 0;
    before = slow->end.to_say.size();
    return still > 200;
  }));
  CHECK(before > (24u << 20));
  quick->end.to_say = "quick";
  CHECK(tunnels.turn_until([&] {
    quick->end.turn();
    return tunnels.server->came[1].second->heard == "quick";
  }));
  tunnels.server->came[0].second->reads = true;
  CHECK(tunnels.turn_until([&] {
    slow->end.turn();
    return tunnels.server->came[0].second->heard.size() == (32u << 20);
  }));
}

TEST_CASE("tunnel: what nobody read of streams that are over is no longer held against their tunnel") {
  Tunnels tunnels;
  std::vector<std::unique_ptr<User>> users;
  for (int i = 0; i < 4; ++i) users.push_back(tunnels.open());
  REQUIRE(tunnels.turn_until(
      [&] { return std::ranges::all_of(users, [](const auto& user) { return user->end.transport != nullptr; }); }));
  for (auto& [record, end] : tunnels.server->came) end->reads = false;
  for (const auto& user : users) user->end.to_say = std::string(5 << 20, 'x');
  const auto turn_all = [&] {
    for (const auto& user : users) user->end.turn();
  };
  // Each fills its own window, and all of them the tunnel's.
  CHECK(tunnels.turn_until([&] {
    turn_all();
    return std::ranges::all_of(users, [](const auto& user) { return user->end.to_say.size() < (1u << 20); });
  }));
  const auto next = tunnels.open();
  REQUIRE(tunnels.turn_until([&] { return next->end.transport != nullptr; }));
  next->end.to_say = std::string(1 << 20, 'n');
  for (int i = 0; i < 4; ++i) tunnels.server->came[static_cast<std::size_t>(i)].second->transport.reset();
  CHECK(tunnels.turn_until([&] {
    next->end.turn();
    return tunnels.server->came[4].second->heard.size() == (1u << 20);
  }));
  CHECK(tunnels.accepted() == 1);
}

TEST_CASE("tunnel: streams outlive their tunnel, and their owners' ends outlive neither") {
  Tunnels tunnels;
  const auto user = tunnels.open(), waits = tunnels.open();
  REQUIRE(tunnels.turn_until([&] { return user->end.transport && waits->end.transport; }));
  auto far = std::move(tunnels.server->came[0].second);
  tunnels.server.reset();
  CHECK(tunnels.turn_until([&] {
    user->end.turn();
    return user->end.error != 0;
  }));
  CHECK(user->end.error == ECONNRESET);
  char byte = 0;
  CHECK(far->transport->receive(&byte, 1) == -1);
  CHECK(errno == ECONNRESET);
  CHECK(far->transport->send("x", 1) == -1);
  tunnels.client.reset();
  CHECK(waits->end.transport->send("x", 1) == -1);
  CHECK(waits->end.transport->shut_write() == -1);
}

TEST_CASE("tunnel: who does not wait any longer is not told, and what it asked for is taken back") {
  Tunnels tunnels;
  tunnels.server->answers_late = true;
  auto user = tunnels.open();
  CHECK(tunnels.turn_until([&] { return tunnels.server->came.size() == 1; }));
  tunnels.client->traffic.tunnels().forget(*user);
  user.reset();
  auto& far = *tunnels.server->came[0].second;
  CHECK(tunnels.turn_until([&] { return far.error != 0; }));
  far.transport->answer(Transport::Answer::kReached);
  far.transport.reset();
  // ... also one that waits for the tunnel itself.
  tunnels.server->answers_late = false;
  user = tunnels.open();
  tunnels.client->traffic.tunnels().forget(*user);
  user.reset();
  const auto next = tunnels.open();
  CHECK(tunnels.turn_until([&] { return next->end.transport != nullptr; }));
}

TEST_CASE("tunnel: one that waits for a socket to dial with is looked at all the same") {
  Tunnels tunnels;
  tunnels.client->has_dials = false;
  const auto user = tunnels.open();
  tunnels.sweep();
  REQUIRE(tunnels.client->waits != nullptr);
  CHECK_FALSE(user->flag);
  Node::give_dial(*tunnels.client->waits);
  tunnels.sweep();
  CHECK(tunnels.turn_until([&] { return user->end.transport != nullptr; }));
}

TEST_CASE("tunnel: a tunnel at which somebody waited in vain is not asked again, but by who asked already") {
  Tunnels tunnels(milliseconds(400));
  const auto first = tunnels.open();
  REQUIRE(tunnels.turn_until([&] { return first->end.transport != nullptr; }));
  // Who gives up at once says nothing about the tunnel.
  tunnels.is_stalled = true;
  auto hasty = tunnels.open();
  tunnels.client->traffic.tunnels().forget(*hasty);
  hasty.reset();
  auto patient = tunnels.open();
  const auto since = Clock::now();
  REQUIRE(tunnels.turn_until([&] { return Clock::now() - since > milliseconds(250); }));
  CHECK(tunnels.accepted() == 1);
  tunnels.client->traffic.tunnels().forget(*patient);
  patient.reset();
  tunnels.is_stalled = false;
  const auto next = tunnels.open();
  CHECK(tunnels.turn_until([&] { return next->end.transport != nullptr; }));
  CHECK(tunnels.accepted() == 2);
  first->end.to_say = "still";
  CHECK(tunnels.turn_until([&] {
    first->end.turn();
    return tunnels.server->came[0].second->heard == "still";
  }));
}

TEST_CASE("tunnel: a pod that goes takes its tunnels along, at once or with their last stream") {
  Tunnels tunnels;
  const auto user = tunnels.open();
  REQUIRE(tunnels.turn_until([&] { return user->end.transport != nullptr; }));
  tunnels.server->traffic.forget(kServerPod, false, net::Clock::now() + seconds(60));
  user->end.to_say = "still";
  CHECK(tunnels.turn_until([&] {
    user->end.turn();
    return tunnels.server->came[0].second->heard == "still";
  }));
  // It has said GOAWAY.
  const auto next = tunnels.open();
  CHECK(tunnels.turn_until([&] { return tunnels.accepted() == 2; }));
  tunnels.server->traffic.forget(kServerPod, true, {});
  CHECK(tunnels.turn_until([&] {
    user->end.turn();
    return user->end.error == ECONNRESET;
  }));
}

}  // namespace
}  // namespace underpass::test
