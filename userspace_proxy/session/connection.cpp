// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/connection.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "userspace_proxy/net/tcp.h"
#include "userspace_proxy/net/tcp_transport.h"

namespace underpass::session {
namespace {

constexpr std::uint32_t kRead = EPOLLIN | EPOLLRDHUP | EPOLLET;
constexpr std::uint32_t kReadAndWrite = kRead | EPOLLOUT;
constexpr std::uint32_t kGone = EPOLLERR | EPOLLHUP;

std::string cause(std::string_view what, int error) { return std::string(what) + ": " + std::strerror(error); }

}  // namespace

Connection::Connection(Surroundings around, ConnectionOwner& owner, std::unique_ptr<net::Transport> client,
                       NetnsCookie pod, std::uint64_t id, Record record)
    : around_(around), owner_(owner), pod_(pod), id_(id), record_(std::move(record)) {
  relay_.client.transport = std::move(client);
  relay_.client.writable = true;
}

bool Connection::dials_v6() const { return !net::is_v4(record_.server); }

void Connection::watch_client() {
  if (!relay_.client.transport->watch(kRead, client_)) end(Flag::kConnectFailed, cause("epoll", errno));
}

void Connection::dial(UniqueFd socket) {
  stage_ = Stage::kConnecting;
  const int fd = socket.get();
  relay_.server.transport = net::make_tcp(around_.loop, std::move(socket));
  if (!announce(around_.peers, fd, id_, record_)) return end(Flag::kConnectFailed, cause("announce", errno));
  const auto to = net::to_socket_address(record_.server, record_.server_port);
  if (::connect(fd, to.get(), to.size) != 0 && errno != EINPROGRESS)
    return end(Flag::kConnectFailed, cause("connect", errno));
  watch_server();
}

void Connection::watch_server() {
  server_.watches_out = true;
  if (!relay_.server.transport->watch(kReadAndWrite, server_)) end(Flag::kConnectFailed, cause("epoll", errno));
}

// That it can be written to is told as of a socket that is connected.
void Connection::on_tunnel(std::unique_ptr<net::Transport> stream) {
  stage_ = Stage::kConnecting;
  relay_.server.transport = std::move(stream);
  watch_server();
}

void Connection::go_on(std::unique_ptr<net::Transport> server) { on_tunnel(std::move(server)); }

Connection::Ends Connection::release() {
  for (auto* side : {&relay_.client, &relay_.server}) side->transport->unwatch();
  relay_.release(around_.buffers);
  stage_ = Stage::kEnded;
  return {.client = std::move(relay_.client.transport), .server = std::move(relay_.server.transport)};
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
    if ((events & kGone) != 0) fail(true, side.transport->take_error());
    return;
  }
  move();
  // An end that is reset while nothing may be read from it, or written to it, would go unnoticed.
  if (stage_ == Stage::kEnded || (events & EPOLLERR) == 0) return;
  if (const int error = side.transport->take_error(); error != 0) fail(of_client, error);
}

void Connection::on_connect(std::uint32_t events) {
  if ((events & kGone) != 0) {
    const int error = relay_.server.transport->take_error();
    // Hung up without an error: it was connected, and reset before anybody asked.
    return end(Flag::kConnectFailed, cause("connect", error == 0 ? ECONNRESET : error));
  }
  if ((events & EPOLLOUT) == 0) return;
  stage_ = Stage::kRelaying;
  last_byte = around_.loop.now();
  relay_.client.transport->answer(net::Transport::Answer::kReached);
  owner_.on_connected(*this);
  if (stage_ == Stage::kRelaying) move();
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
  if (!side.transport->rewatch(side_end.watches_out ? kReadAndWrite : kRead, side_end))
    end(Flag::kConnectFailed, cause("epoll", errno));
}

void Connection::fail(bool of_client, int error) {
  // A peer that resets a connection which it has half closed already leaves EPIPE.
  if (error == 0 || error == EPIPE) error = ECONNRESET;
  end(of_client ? Flag::kClientReset : Flag::kUpstreamReset, cause(of_client ? "client" : "upstream", error));
}

void Connection::end(Flag flag, std::string details) {
  if (stage_ == Stage::kEnded) return;
  if (flag == Flag::kDenied) relay_.client.transport->answer(net::Transport::Answer::kDenied);
  for (auto* side : {&relay_.client, &relay_.server}) {
    if (side->transport) side->transport->close(flag == Flag::kNone);
    side->transport.reset();
  }
  relay_.release(around_.buffers);
  stage_ = Stage::kEnded;
  flag_ = flag;
  details_ = std::move(details);
  owner_.on_ended(*this);
}

}  // namespace underpass::session
