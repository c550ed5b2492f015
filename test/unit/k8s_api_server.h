// SPDX-License-Identifier: Apache-2.0
// A server of scripted answers on the test's own io_context, so that a test decides after which step what happens. What
// is like a real API server is in the suite of its own (test/fake).
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/eventually.h"
#include "test/support/temp_folder.h"

namespace underpass::test {

namespace asio = boost::asio;

// Runs handlers until `predicate()` is true; false at the deadline.
template <typename Predicate>
[[nodiscard]] bool run_until(asio::io_context& io, Predicate&& predicate, milliseconds deadline = seconds(10)) {
  const auto end = Clock::now() + deadline;
  while (!predicate()) {
    if (Clock::now() >= end) return false;
    io.restart();
    io.run_one_for(milliseconds(50));
  }
  return true;
}

inline std::string http_answer(const std::string& status, const std::string& body,
                               const std::string& type = "application/json", const std::string& more = {}) {
  return "HTTP/1.1 " + status + "\r\nContent-Type: " + type + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + more + "\r\n" + body;
}

class ScriptedServer {
 public:
  // What is sent for a request: its head, and its body where it has one; empty: nothing, and the connection stays.
  // "close" in front: then it is closed.
  using Script = std::function<std::string(const std::string& head)>;
  static constexpr std::string_view kClose = "close ";

  ScriptedServer(asio::io_context& io, Script script) : state_(std::make_shared<State>(io, std::move(script))) {
    asio::co_spawn(io, accept(state_), asio::detached);
  }
  ~ScriptedServer() {
    boost::system::error_code ignored;
    state_->acceptor.close(ignored);
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  [[nodiscard]] int connections() const { return state_->connections; }
  [[nodiscard]] int open_connections() const { return state_->open; }
  [[nodiscard]] const std::vector<std::string>& heads() const { return state_->heads; }

  [[nodiscard]] std::uint16_t port() const { return state_->acceptor.local_endpoint().port(); }

  // Of a kubeconfig that leads here, in `folder`.
  std::string kubeconfig(const TempFolder& folder, const std::string& user = "") const {
    folder.write("kubeconfig",
                 "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
                 "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:" +
                     std::to_string(port()) + "'}}]\nusers: [{name: a, user: {" + user + "}}]\n");
    return (folder / "kubeconfig").string();
  }

 private:
  struct State {
    State(asio::io_context& io, Script made)
        : acceptor(io, {asio::ip::address_v4::loopback(), 0}), script(std::move(made)) {}
    asio::ip::tcp::acceptor acceptor;
    Script script;
    int connections = 0;
    int open = 0;
    std::vector<std::string> heads;
  };
  static constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

  static std::size_t body_size(const std::string& head) {
    constexpr std::string_view kName = "\r\nContent-Length: ";
    const auto at = head.find(kName);
    return at == std::string::npos ? 0 : std::stoul(head.substr(at + kName.size()));
  }

  static asio::awaitable<void> accept(std::shared_ptr<State> state) {
    for (;;) {
      auto [error, socket] = co_await state->acceptor.async_accept(kNoThrow);
      if (error) co_return;
      ++state->connections;
      ++state->open;
      asio::co_spawn(state->acceptor.get_executor(), serve(state, std::move(socket)),
                     [state](const std::exception_ptr&) { --state->open; });
    }
  }

  static asio::awaitable<void> serve(std::shared_ptr<State> state, asio::ip::tcp::socket socket) {
    for (std::string received;;) {
      auto [error, size] =
          co_await asio::async_read_until(socket, asio::dynamic_buffer(received), "\r\n\r\n", kNoThrow);
      if (error) co_return;
      state->heads.push_back(received.substr(0, size));
      const auto whole = size + body_size(state->heads.back());
      if (received.size() < whole) {
        auto [short_of, more] = co_await asio::async_read(socket, asio::dynamic_buffer(received),
                                                          asio::transfer_exactly(whole - received.size()), kNoThrow);
        if (short_of) co_return;
      }
      auto answer = state->script(received.substr(0, whole));
      received.erase(0, whole);
      const bool closes = answer.starts_with(kClose);
      if (closes) answer.erase(0, kClose.size());
      auto [problem, sent] = co_await asio::async_write(socket, asio::buffer(answer), kNoThrow);
      if (problem || closes) co_return;
    }
  }

  std::shared_ptr<State> state_;
};

}  // namespace underpass::test
