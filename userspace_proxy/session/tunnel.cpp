// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/tunnel.h"

#include <cerrno>
#include <utility>

#include "userspace_proxy/session/tunnel_stream.h"

namespace underpass::session {
namespace {

constexpr std::uint32_t kInterest = EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLET;

}  // namespace

Tunnel::Tunnel(HttpHost& host) : host_(host), idle_since_(host.loop().now()), heard_(idle_since_) {}

Tunnel::~Tunnel() { lose_all(); }

std::unique_ptr<TunnelStream> Tunnel::make_stream(http::StreamId id, bool is_answered) {
  auto made = std::make_unique<TunnelStream>(host_.loop(), *this, id, is_answered);
  streams_[id] = made.get();
  return made;
}

void Tunnel::forget(http::StreamId stream) {
  streams_.erase(stream);
  if (streams_.empty()) idle_since_ = host_.loop().now();
}

void Tunnel::hand_on(http::StreamId id, std::string_view bytes) {
  if (const auto found = streams_.find(id); found != streams_.end())
    found->second->on_data(bytes);
  else
    codec().consume(id, bytes.size());
}

void Tunnel::hand_on_end(http::StreamId id) {
  if (const auto found = streams_.find(id); found != streams_.end()) found->second->on_end();
}

void Tunnel::hand_on_room(http::StreamId id) {
  if (const auto found = streams_.find(id); found != streams_.end()) found->second->on_writable();
}

bool Tunnel::lose(http::StreamId id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return false;
  found->second->on_gone(ECONNRESET);
  forget(id);
  return true;
}

void Tunnel::lose_all() {
  for (const auto& [id, stream] : std::exchange(streams_, {})) stream->on_gone(ECONNRESET);
}

bool Tunnel::attach(std::unique_ptr<tls::TlsTransport> tls, net::Watcher& watcher) {
  tls_ = tls.get();
  return socket_.attach(std::move(tls), kInterest, watcher);
}

bool Tunnel::check_peer(net::Clock::time_point now) {
  if (std::exchange(heard_bytes_, socket_.bytes_received()) != socket_.bytes_received()) {
    heard_ = now;
    was_asked_ = false;
  }
  if (now - heard_ >= 2 * kTunnelQuiet) return false;
  if (now - heard_ < kTunnelQuiet || std::exchange(was_asked_, true)) return true;
  codec().ping();
  touch();
  return true;
}

}  // namespace underpass::session
