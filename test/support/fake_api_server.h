// SPDX-License-Identifier: Apache-2.0
// The fake API server's sockets: HTTPS/1.1 with keep-alive, gzip and chunks, spoken by hand where it must be able to
// break the protocol. Everything here runs on the thread of its io_context; FakeApi calls in from others.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "test/support/fake_api_fault.h"
#include "test/support/fake_api_objects.h"
#include "test/support/fake_api_rest.h"
#include "test/support/fake_api_tls.h"

namespace underpass::test {

// One request as the server saw it.
struct FakeRequest {
  std::chrono::steady_clock::time_point when{};
  std::uint64_t connection = 0;  // requests of one connection have the same
  std::string verb;              // "list", "watch", "get", "create" …
  std::string method, path;
  std::string collection;  // "/api/v1/pods", whatever namespace or object is asked for
  std::map<std::string, std::string> query;
  std::string user_agent, accept, authorization;
  unsigned status = 0;    // 0: not answered
  std::size_t bytes = 0;  // that were written, with the protocol's own
  bool finished = false;  // a watch: it is over
};

class FakeServer {
 public:
  struct Settings {
    std::chrono::milliseconds bookmarks{1000};  // how often a watch gets one
    std::size_t compressed_from = 128 * 1024;   // bytes
    std::chrono::seconds clock_skew{0};         // of the header Date
    boost::json::value version;                 // what /version says
    std::set<std::string> tokens;
  };

  FakeServer();
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  void run() { io_.run(); }
  void stop() { io_.stop(); }  // run() returns; from any thread
  void post(std::function<void()> what);

  // Below: on the thread that runs it, or before it runs.
  void listen(std::uint16_t port);
  // Connections are reset.
  void close();
  void reset_connections();
  void identify_as(const FakeIdentity& identity, const std::string& client_authority);
  // Something changed that watches may have to tell.
  void wake_watches();
  [[nodiscard]] std::uint16_t port() const { return port_; }

  FakeObjects objects;
  Settings settings;
  std::vector<std::pair<std::uint64_t, Fault>> faults;  // by number
  std::vector<FakeRequest> requests;

 private:
  struct Connection;
  using ConnectionPtr = std::shared_ptr<Connection>;
  using Acceptor = boost::asio::ip::tcp::acceptor;
  struct Asked;

  boost::asio::awaitable<void> accept_all(std::shared_ptr<Acceptor> acceptor);
  boost::asio::awaitable<void> serve(ConnectionPtr connection);
  // False: the connection ends.
  boost::asio::awaitable<bool> answer(ConnectionPtr connection, Asked asked);
  boost::asio::awaitable<bool> send(ConnectionPtr connection, FakeAnswer answer, Asked asked);
  boost::asio::awaitable<bool> watch(ConnectionPtr connection, Asked asked);
  boost::asio::awaitable<void> await_client(ConnectionPtr connection);
  boost::asio::awaitable<void> write(ConnectionPtr connection, std::string text, Asked asked);

  std::optional<Fault> take_fault(const FakeCall& call);
  [[nodiscard]] std::optional<std::string> user_of(const Connection& connection, const std::string& token) const;
  [[nodiscard]] FakeAnswer faulty_answer(const Fault& fault, const FakeCall& call);
  [[nodiscard]] std::string head(const FakeAnswer& answer, const std::string& length) const;

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::shared_ptr<boost::asio::ssl::context> tls_;
  std::shared_ptr<Acceptor> acceptor_;
  std::uint16_t port_ = 0;
  std::uint64_t next_connection_ = 1;
  std::set<std::weak_ptr<Connection>, std::owner_less<>> connections_;
};

}  // namespace underpass::test
