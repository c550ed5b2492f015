// SPDX-License-Identifier: Apache-2.0
// A server that does what a test says, and remembers what it was asked: each request that came, whole, and over which
// of its connections. It is the count of requests that nobody can argue with.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "test/netns/http/wire.h"

namespace underpass::test {

class ScriptServer {
 public:
  // Plays one connection, numbered from 0; it is closed in good order when it returns or throws.
  using Play = std::function<void(ScriptServer& self, Wire& wire, std::size_t connection)>;
  // Answers one request; false: the connection is over.
  using Answer = std::function<bool(Wire& wire, const Message& request)>;

  // Port 0: any.
  ScriptServer(const Place& place, Play play, std::uint16_t port = 0);
  // Every request that comes, kept alive.
  ScriptServer(const Place& place, Answer answer, std::uint16_t port = 0);
  ~ScriptServer();
  ScriptServer(const ScriptServer&) = delete;
  ScriptServer& operator=(const ScriptServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::size_t connections() const { return connections_; }
  void keep(const Message& request);
  [[nodiscard]] std::vector<Message> requests() const;
  // What was wrong with what came, as the reader says it; of connections that ended in the middle of nothing, nothing.
  [[nodiscard]] std::vector<std::string> complaints() const;
  // Nobody comes in any more: a connection is refused.
  void close();

 private:
  void accept();
  void serve(Wire& wire, std::size_t connection);

  const Play play_;
  UniqueFd listener_;
  std::uint16_t port_;
  std::atomic<std::size_t> connections_ = 0;
  mutable std::mutex mutex_;
  std::vector<Message> requests_;
  std::vector<std::string> complaints_;
  std::list<Wire> wires_;
  std::list<std::jthread> threads_;
  std::jthread acceptor_;
};

// "HTTP/1.1 200 OK" with this body and its length.
std::string ok(const std::string& body = "fine", const std::string& more_fields = "");

}  // namespace underpass::test
