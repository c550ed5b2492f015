// SPDX-License-Identifier: Apache-2.0
// The HTTP of one traffic thread without kernel programs and without an agent: clients are socket pairs, servers listen
// on 127.0.0.1, and everything is moved by turns in the test's own thread.
#pragma once

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test/unit/http2_loop.h"
#include "test/unit/proxy_tcp.h"
#include "userspace_proxy/net/tcp_transport.h"
#include "userspace_proxy/session/http_traffic.h"

namespace underpass::test {

inline constexpr NetnsCookie kStagePod = 4711;

// A server of HTTP/2 that answers a path with 200 when the test says so.
class StageServer final : private http::ServerEvents {
 public:
  [[nodiscard]] std::uint16_t port() const { return place_of(listener_.get()).port; }
  // Takes whoever comes, and moves bytes.
  void turn() {
    if (UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)); fd) {
      ++connections;
      fd_ = std::move(fd);
      codec_ = http2::make_server_codec(limits_, *this);
    }
    if (fd_ && !carry(fd_.get(), *codec_)) fd_.reset();
  }
  void answer(const std::string& path) {
    codec_->send_response(asked.at(path), {.status = 200, .content_length = 0});
    turn();
  }
  void reset(const std::string& path) {
    codec_->reset(asked.at(path), http::Fault::kCancelled);
    turn();
  }
  void close() { fd_.reset(); }

  std::map<std::string, http::StreamId> asked;  // by path
  int connections = 0;

 private:
  void on_request(http::StreamId stream, http::Request& request) override { asked[request.path] = stream; }
  void on_refused(http::StreamId, const http::Request&, http::Fault, std::string_view) override {}
  void on_data(http::StreamId, std::string_view) override {}
  void on_end(http::StreamId, const http::Fields*) override {}
  void on_reset(http::StreamId, http::Fault) override {}
  void on_writable(http::StreamId) override {}
  void on_failed(http::Fault, std::string_view) override {}

  http::Limits limits_;
  UniqueFd listener_ = listen_on_loopback();
  UniqueFd fd_;
  std::unique_ptr<http::ServerCodec> codec_;
};

class HttpStage final : private session::HttpOwner {
 public:
  // `threads`: that the worker has; the settings ask for one.
  explicit HttpStage(const std::map<std::uint16_t, PortProtocol>& ports, const HttpSettings& settings = {},
                     unsigned threads = 1)
      : routes_(std::make_shared<const session::Routes>(table_of(ports, settings))), threads_(threads) {}

  // A client of that pod, whose bytes are for this port of its own.
  using Wrap = std::function<std::unique_ptr<net::Transport>(std::unique_ptr<net::Transport>)>;
  UniqueFd connect(std::uint16_t port, PortProtocol protocol = PortProtocol::kDetect,
                   const Wrap& wrap = std::identity{}) {
    int ends[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    enter(wrap(net::make_tcp(*loop_, UniqueFd(ends[0]))), port, protocol);
    return UniqueFd(ends[1]);
  }
  // Until `done`, with `turn` in between; false: it never was.
  bool turn_until(const std::function<bool()>& done, const std::function<void()>& turn = {}) {
    return eventually(seconds(5), [&] {
      loop_->run_round(net::Clock::now());
      traffic.end_round();
      if (turn) turn();
      return done();
    });
  }
  // What came at a client's end since it was asked last; what it is at an end adds "(end)".
  static std::string heard(const UniqueFd& client) {
    return heard([&](char* to, std::size_t most) { return ::recv(client.get(), to, most, MSG_DONTWAIT); });
  }
  static std::string heard(net::Transport& client) {
    return heard([&](char* to, std::size_t most) { return client.receive(to, most); });
  }
  template <typename Receive>
  static std::string heard(Receive receive) {
    std::string out(65536, 0);
    const ssize_t got = receive(out.data(), out.size());
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return got == 0 ? out + "(end)" : out;
  }

 private:
  void enter(std::unique_ptr<net::Transport> client, std::uint16_t port, PortProtocol protocol) {
    session::Record record;
    record.server = IpAddress::parse("127.0.0.1")->to_abi();
    record.server_port = htons(port);
    record.server_netns = record.client_netns = kStagePod;
    record.client_port = htons(1);
    traffic.take_in(std::move(client), kStagePod, ++ids_, std::move(record), protocol);
  }

  class LetAll final : public session::Peers {
   public:
    bool ask(int, up_peer&) override { return false; }
    bool announce(int, std::uint64_t) override { return true; }
    bool announce_errand(int) override { return true; }
    bool announce_client(int, const up_tunnelled&) override { return true; }
  };

  static RoutingTable table_of(const std::map<std::uint16_t, PortProtocol>& ports, const HttpSettings& settings) {
    RoutingTable out{.revision = 1, .settings = {.threads = 1, .http = settings}};
    out.pods.push_back({.netns = kStagePod, .id = {"shop", "web"}, .ports = ports});
    return out;
  }

  void find_dial(session::DialUser& user) override {
    user.dial(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
  }
  void forget_dial(session::DialUser&) override {}
  void on_not_http(session::HttpConnection&, std::unique_ptr<net::Transport> client) override {
    relayed.push_back(std::move(client));
  }
  void on_tunnelled(std::unique_ptr<net::Transport>, NetnsCookie, std::uint64_t, session::Record) override {}
  void on_request_ended(const telemetry::RequestRecord& record) override { ended.push_back(record); }
  void on_connection_ended(const session::HttpConnection& connection) override {
    closed.emplace_back(session::name_of(connection.flag()));
  }

  std::unique_ptr<net::Loop> loop_ = std::move(net::Loop::make().value());
  session::BufferPool buffers_;
  LetAll peers_;
  session::RoutesPtr routes_;
  unsigned threads_;
  std::uint64_t ids_ = 0;

 public:
  std::atomic<bool> memory_short = false;
  std::vector<telemetry::RequestRecord> ended;  // without `connection`, which is gone
  std::vector<std::string> closed;              // flags of connections
  std::vector<std::unique_ptr<net::Transport>> relayed;
  session::HttpTraffic traffic{*loop_, buffers_, peers_, *this, memory_short, routes_, threads_};
};

}  // namespace underpass::test
