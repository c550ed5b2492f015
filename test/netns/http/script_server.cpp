// SPDX-License-Identifier: Apache-2.0
#include "test/netns/http/script_server.h"

#include <utility>

namespace underpass::test {
namespace {

ScriptServer::Play play_of(ScriptServer::Answer answer) {
  return [answer = std::move(answer)](ScriptServer& self, Wire& wire, std::size_t) {
    while (const auto request = wire.read_request()) {
      self.keep(*request);
      if (!answer(wire, *request)) return;
    }
  };
}

}  // namespace

ScriptServer::ScriptServer(const Place& place, Play play, std::uint16_t port)
    : play_(std::move(play)),
      listener_(listen_at(place, AF_INET, {}, port)),
      port_(local_address(listener_.get()).port()) {
  acceptor_ = std::jthread([this] { accept(); });
}

ScriptServer::ScriptServer(const Place& place, Answer answer, std::uint16_t port)
    : ScriptServer(place, play_of(std::move(answer)), port) {}

ScriptServer::~ScriptServer() {
  close();
  for (const Wire& wire : wires_) (void)::shutdown(wire.fd(), SHUT_RDWR);
  threads_.clear();
}

void ScriptServer::close() {
  (void)::shutdown(listener_.get(), SHUT_RD);  // wakes accept()
  if (acceptor_.joinable()) acceptor_.join();
  listener_.reset();
}

void ScriptServer::accept() {
  for (;;) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) return;
    auto& wire = wires_.emplace_back(std::move(fd));
    threads_.emplace_back([this, &wire, connection = connections_++] { serve(wire, connection); });
  }
}

void ScriptServer::serve(Wire& wire, std::size_t connection) {
  try {
    play_(*this, wire, connection);
  } catch (const std::exception& problem) {
    const std::lock_guard lock(mutex_);
    complaints_.emplace_back(problem.what());
  }
  wire.close();
}

void ScriptServer::keep(const Message& request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
}

std::vector<Message> ScriptServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<std::string> ScriptServer::complaints() const {
  const std::lock_guard lock(mutex_);
  return complaints_;
}

std::string ok(const std::string& body, const std::string& more_fields) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more_fields + "\r\n" + body;
}

}  // namespace underpass::test
