// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/served.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <array>
#include <utility>

#include "agent/dataplane/netns.h"

namespace underpass::workers {
namespace {

// Where a listener is at its loopback address, by direction; if the pod has that port for itself, anywhere.
constexpr std::array<std::uint16_t, 3> kPorts{UP_OUTBOUND_PORT, UP_INBOUND_PORT, UP_TUNNEL_PORT};

up_listener_key key_of(NetnsCookie netns, const worker::Listener& listener) {
  up_listener_key key{};
  key.netns_cookie = netns;
  key.direction = listener.direction;
  key.v6 = listener.v6 ? 1 : 0;
  return key;
}

bool is_wanted(up_direction direction, const compile::WorkerPod& pod) {
  switch (direction) {
    case UP_OUTBOUND:
      return !pod.inbound_only || pod.tunnels;
    case UP_INBOUND:
      return !pod.tunnel_only;
    case UP_TUNNEL:
      return pod.tunnels;
  }
  return false;
}

std::vector<worker::Listener> wanted_listeners(const compile::WorkerPod& pod) {
  std::vector<worker::Listener> out;
  for (const bool v6 : {false, true})
    if (v6 ? pod.v6 : pod.v4)
      for (const auto direction : {UP_OUTBOUND, UP_INBOUND, UP_TUNNEL})
        if (is_wanted(direction, pod)) out.push_back({.direction = direction, .v6 = v6});
  return out;
}

SocketCookie cookie_of(int socket) {
  SocketCookie cookie = 0;
  socklen_t size = sizeof(cookie);
  return ::getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace

Result<void> Served::enter(const std::string& path) {
  if (netns_fd_) return {};
  // What stands at the path may be another pod's by now.
  const auto fact = dataplane::probe_netns(path);
  if (!fact) return std::unexpected(fact.error());
  if (fact->cookie != netns_) return fail("network namespace " + path + " is another one than before");
  auto opened = dataplane::open_netns(path);
  if (!opened) return std::unexpected(opened.error());
  netns_fd_ = std::move(*opened);
  return {};
}

Result<bool> Served::make_listeners(SocketMaker& maker, const std::string& path, const compile::WorkerPod& pod) {
  if (auto done = enter(path); !done) return std::unexpected(done.error());
  bool fresh = false;
  for (const auto& listener : wanted_listeners(pod)) {
    if (listeners_.contains(listener)) continue;
    auto made = maker.listen(netns_fd_.get(), listener.v6, kPorts.at(listener.direction));
    if (!made) return std::unexpected(made.error());
    listeners_[listener] = {.fd = std::move(made->fd), .port = made->port};
    fresh = true;
  }
  if (fresh) told = in_force_ = false;
  return fresh;
}

void Served::take_back(const dataplane::WorkerMaps& maps, const worker::Listeners& message, std::vector<UniqueFd> fds) {
  const auto row = maps.worker(netns_);
  for (std::size_t i = 0; i < fds.size(); ++i) {
    const auto& listener = message.listeners[i];
    const auto known = maps.listener(key_of(netns_, listener));
    if (known == 0 || known != cookie_of(fds[i].get())) {
      spdlog::warn("worker-listener-unknown netns={}", netns_);
      continue;
    }
    const std::uint16_t port = row ? ntohs(listener.v6 ? row->port6 : row->port4) : 0;
    listeners_[listener] = {.fd = std::move(fds[i]),
                            .port = listener.direction == UP_OUTBOUND ? port : kPorts.at(listener.direction)};
  }
  told = true;
  in_force_ = row.has_value();
}

Result<std::vector<UniqueFd>> Served::copies() const {
  std::vector<UniqueFd> out;
  for (const auto& [listener, held] : listeners_) {
    auto& copy = out.emplace_back(::fcntl(held.fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return fail_errno("dup");
  }
  return out;
}

Result<std::vector<UniqueFd>> Served::make_dials(SocketMaker& maker, bool v6, std::size_t count) const {
  if (!netns_fd_) return fail("its network namespace was not entered yet");
  return maker.dials(netns_fd_.get(), v6, count);
}

up_worker Served::row_of(std::uint32_t number, std::int32_t dials) const {
  up_worker row{};
  row.number = number;
  row.dials = dials;
  for (const auto& [listener, held] : listeners_)
    if (listener.direction == UP_OUTBOUND) (listener.v6 ? row.port6 : row.port4) = htons(held.port);
  return row;
}

Result<void> Served::put_in_force(dataplane::WorkerMaps& maps, std::uint32_t number, std::int32_t dials) {
  Result<void> done = maps.put_worker(netns_, row_of(number, dials));
  for (const auto& [listener, held] : listeners_)
    if (done) done = maps.put_listener(key_of(netns_, listener), held.fd.get());
  in_force_ = done.has_value();
  return done;
}

void Served::update_dials(dataplane::WorkerMaps& maps, std::uint32_t number, std::int32_t dials) const {
  if (in_force_) (void)maps.put_worker(netns_, row_of(number, dials));
}

void Served::take_out_of_force(dataplane::WorkerMaps& maps) {
  maps.remove_worker(netns_);
  for (const auto& [listener, held] : listeners_) maps.remove_listener(key_of(netns_, listener));
  in_force_ = false;
}

}  // namespace underpass::workers
