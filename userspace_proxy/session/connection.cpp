// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/connection.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "userspace_proxy/net/tcp.h"

namespace underpass::session {
namespace {

constexpr std::uint32_t kRead = EPOLLIN | EPOLLRDHUP | EPOLLET;
constexpr std::uint32_t kReadAndWrite = kRead | EPOLLOUT;
constexpr std::uint32_t kGone = EPOLLERR | EPOLLHUP;

std::string cause(std::string_view what, int error) { return std::string(what) + ": " + std::strerror(error); }

}  // namespace

Connection::Connection(Surroundings around, ConnectionOwner& owner, UniqueFd client, NetnsCookie pod, std::uint64_t id,
                       Record record)
    : around_(around), owner_(owner), pod_(pod), id_(id), record_(std::move(record)) {
  relay_.client.fd = std::move(client);
  relay_.client.writable = true;
}

bool Connection::dials_v6() const { return !net::is_v4(record_.server); }

void Connection::watch_client() {
  if (!around_.loop.watch(relay_.client.fd.get(), kRead, client_)) end(Flag::kConnectFailed, cause("epoll", errno));
}

void Connection::dial(UniqueFd socket) {
  stage_ = Stage::kConnecting;
  relay_.server.fd = std::move(socket);
  const int fd = relay_.server.fd.get();
  if (!around_.peers.announce(fd, id_)) return end(Flag::kConnectFailed, cause("announce", errno));
  const auto to = net::to_socket_address(record_.server, record_.server_port);
  if (::connect(fd, to.get(), to.size) != 0 && errno != EINPROGRESS)
    return end(Flag::kConnectFailed, cause("connect", errno));
  if (!around_.loop.watch(fd, kReadAndWrite, server_)) return end(Flag::kConnectFailed, cause("epoll", errno));
  server_.watches_out = true;
}

void Connection::on_events(End& side_end, std::uint32_t events) {
  if (stage_ == Stage::kEnded) return;
  const bool of_client = &side_end == &client_;
  auto& side = of_client ? relay_.client : relay_.server;
  if ((events & (EPOLLIN | EPOLLRDHUP | kGone)) != 0) side.readable = true;
  if ((events & (EPOLLOUT | kGone)) != 0) side.writable = true;

  if (stage_ != Stage::kRelaying) {
    if (!of_client) return on_connect(events);
    // What it has sent already may wait; that it is gone may not.
    if ((events & kGone) != 0) fail(true, net::take_error(side.fd.get()));
    return;
  }
  move();
  // An end that is reset while nothing may be read from it, or written to it, would go unnoticed.
  if (stage_ == Stage::kEnded || (events & EPOLLERR) == 0) return;
  if (const int error = net::take_error(side.fd.get()); error != 0) fail(of_client, error);
}

void Connection::on_connect(std::uint32_t events) {
  if ((events & kGone) != 0) {
    const int error = net::take_error(relay_.server.fd.get());
    // Hung up without an error: it was connected, and reset before anybody asked.
    return end(Flag::kConnectFailed, cause("connect", error == 0 ? ECONNRESET : error));
  }
  if ((events & EPOLLOUT) == 0) return;
  stage_ = Stage::kRelaying;
  last_byte = around_.loop.now();
  owner_.on_connected(*this);
  move();
}

void Connection::move() {
  const auto step = relay_.pump(around_.buffers);
  if (step.moved) last_byte = around_.loop.now();
  switch (step.outcome) {
    case Relay::Outcome::kEnded:
      return end(Flag::kNone);
    case Relay::Outcome::kClientFailed:
      return fail(true, step.error);
    case Relay::Outcome::kServerFailed:
      return fail(false, step.error);
    case Relay::Outcome::kMore:  // telling epoll again makes it tell us again
      rewatch(client_, relay_.client);
      rewatch(server_, relay_.server);
      return;
    case Relay::Outcome::kWaits:
      // Most clients take whatever comes, so that one of them is full is worth a call when it happens.
      if (relay_.client.waits_out && !client_.watches_out) rewatch(client_, relay_.client);
  }
}

void Connection::rewatch(End& side_end, Relay::Side& side) {
  side_end.watches_out = side_end.watches_out || side.waits_out;
  if (!around_.loop.rewatch(side.fd.get(), side_end.watches_out ? kReadAndWrite : kRead, side_end))
    end(Flag::kConnectFailed, cause("epoll", errno));
}

void Connection::fail(bool of_client, int error) {
  // A peer that resets a connection which it has half closed already leaves EPIPE.
  if (error == 0 || error == EPIPE) error = ECONNRESET;
  end(of_client ? Flag::kClientReset : Flag::kUpstreamReset, cause(of_client ? "client" : "upstream", error));
}

void Connection::end(Flag flag, std::string details) {
  if (stage_ == Stage::kEnded) return;
  if (flag != Flag::kNone) {
    net::reset_on_close(relay_.client.fd.get());
    if (relay_.server.fd) net::reset_on_close(relay_.server.fd.get());
  } else {
    net::finish_on_close(relay_.client.fd.get());
    net::finish_on_close(relay_.server.fd.get());
  }
  relay_.client.fd.reset();
  relay_.server.fd.reset();
  relay_.release(around_.buffers);
  stage_ = Stage::kEnded;
  flag_ = flag;
  details_ = std::move(details);
  owner_.on_ended(*this);
}

}  // namespace underpass::session
