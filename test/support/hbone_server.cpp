// SPDX-License-Identifier: Apache-2.0
#include "test/support/hbone_server.h"

#include <utility>

#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr milliseconds kTick{50};

std::string ip_of(const Address& address) {
  const std::string text = address.to_string();
  return text.substr(0, text.rfind(':'));
}

}  // namespace

HboneServer::HboneServer(const Place& place, Manners manners)
    : manners_(std::move(manners)),
      listener_(listen_at(place, manners_.family, {}, kHbonePort)),
      acceptor_([this] { accept(); }) {}

HboneServer::~HboneServer() {
  over_ = true;
  acceptor_.join();
  threads_.clear();
}

void HboneServer::accept() {
  while (!over_) {
    if (!readable(listener_.get(), kTick)) continue;
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) threads_.emplace_back([this, one = std::move(fd)]() mutable { serve(std::move(one)); });
  }
}

void HboneServer::serve(UniqueFd fd) {
  Address client;
  client.size = sizeof client.storage;
  ::getpeername(fd.get(), client.get(), &client.size);
  try {
    HboneWire wire(std::move(fd), TlsEnd::Role::kServer, manners_.tls);
    std::size_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      number = connections_++;
    }
    turn(wire, number, ip_of(client));
  } catch (const std::exception& error) {
    const std::lock_guard lock(mutex_);
    refused_.emplace_back(error.what());
  }
}

void HboneServer::turn(HboneWire& wire, std::size_t number, const std::string& client_ip) {
  wire.on_head = [&](std::int32_t stream) {
    const Request request{.head = wire.streams[stream].head,
                          .client_uris = wire.tls().peer_uris(),
                          .client_ip = client_ip,
                          .connection = number};
    const Answer answer = answer_to(request);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    if (answer.refuse != 0)
      wire.reset(stream, answer.refuse);
    else if (!answer.status.empty())
      wire.answer(stream, {{":status", answer.status}}, answer.status != "200");
  };
  wire.on_bytes = [&](std::int32_t stream, std::string_view bytes) { wire.send(stream, manners_.reply(bytes)); };
  wire.on_end = [&](std::int32_t stream) { wire.send(stream, {}, true); };
  int farewells = farewells_;
  const int cuts = cuts_;
  while (!over_ && !wire.has_ended && cuts_ == cuts) {
    (void)wire.turn_until([&] { return cuts_ != cuts || farewells_ != farewells || over_; }, kTick);
    if (const int asked = farewells_; std::exchange(farewells, asked) != asked) wire.go_away();
  }
}

std::vector<HboneServer::Request> HboneServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::size_t HboneServer::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_;
}

std::vector<std::string> HboneServer::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

void HboneServer::go_away() { ++farewells_; }
void HboneServer::cut() { ++cuts_; }

void HboneServer::answer_with(std::function<Answer(const Request&)> answer) {
  const std::lock_guard lock(mutex_);
  manners_.answer = std::move(answer);
}

HboneServer::Answer HboneServer::answer_to(const Request& request) const {
  const std::lock_guard lock(mutex_);
  return manners_.answer(request);
}

}  // namespace underpass::test
