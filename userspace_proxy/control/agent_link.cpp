// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/control/agent_link.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "underpass/worker_codec.h"

namespace underpass::control {

namespace asio = boost::asio;
using boost::system::error_code;

AgentLink::AgentLink(asio::io_context& io, UniqueFd socket, OnMessage on_message, OnGone on_gone)
    : socket_(io, socket.release()), on_message_(std::move(on_message)), on_gone_(std::move(on_gone)) {}

std::shared_ptr<AgentLink> AgentLink::open(asio::io_context& io, UniqueFd socket, OnMessage on_message,
                                           OnGone on_gone) {
  std::shared_ptr<AgentLink> link(new AgentLink(io, std::move(socket), std::move(on_message), std::move(on_gone)));
  link->await_packets();
  return link;
}

void AgentLink::await_packets() {
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](error_code error) {
    if (error || !self->socket_.is_open()) return;
    self->take_packets();
    if (self->socket_.is_open()) self->await_packets();
  });
}

void AgentLink::take_packets() {
  while (socket_.is_open()) {
    auto packet = receive_packet(socket_.native_handle(), LostFds::kKeepRest);
    if (!packet) return hang_up(packet.error().message);
    if (!*packet) return;
    if ((*packet)->is_end()) return hang_up("");
    if (!take(std::move(**packet))) return;
  }
}

bool AgentLink::take(Packet packet) {
  auto message = worker::decode(packet.text);
  if (!message) {
    hang_up(message.error().message);
    return false;
  }
  on_message_({std::move(*message), std::move(packet.fds), packet.fds_lost});
  return true;
}

void AgentLink::send(const worker::Message& message, const std::vector<int>& fds) {
  if (!socket_.is_open()) return;
  std::string text = worker::encode(message);
  if (waiting_.empty()) {
    const auto sent = send_packet(socket_.native_handle(), text, fds);
    // A link that failed is noticed by reading, where it may be taken down.
    if (!sent) return spdlog::debug("agent-send-failed cause=\"{}\"", sent.error().message);
    if (*sent) return;
    await_room();
  }
  Waiting item{.text = std::move(text), .fds = {}};
  for (const int fd : fds) item.fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  waiting_.push_back(std::move(item));
  if (waiting_.size() <= kMostWaiting) return;
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->hang_up("it reads nothing"); });
}

void AgentLink::await_room() {
  socket_.async_wait(asio::posix::stream_descriptor::wait_write, [self = shared_from_this()](error_code error) {
    if (!error && self->socket_.is_open()) self->send_waiting();
  });
}

void AgentLink::send_waiting() {
  while (!waiting_.empty()) {
    std::vector<int> fds;
    for (const auto& fd : waiting_.front().fds) fds.push_back(fd.get());
    const auto sent = send_packet(socket_.native_handle(), waiting_.front().text, fds);
    if (!sent) return hang_up(sent.error().message);
    if (!*sent) return await_room();
    waiting_.pop_front();
  }
}

void AgentLink::hang_up(const std::string& why) {
  if (!socket_.is_open()) return;
  if (!why.empty()) spdlog::warn("agent-hung-up-on cause=\"{}\"", why);
  const auto on_gone = std::move(on_gone_);
  close();
  on_gone();
}

void AgentLink::close() {
  error_code ignored;
  socket_.close(ignored);
  waiting_.clear();
}

}  // namespace underpass::control
