// SPDX-License-Identifier: Apache-2.0
// One connection to an agent: messages in both directions, in order. What the agent does not read is kept, up to a
// bound; an agent that says what is no message, or reads nothing for long, is hung up on.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "underpass/packet_socket.h"
#include "underpass/unique_fd.h"
#include "underpass/worker_protocol.h"

namespace underpass::control {

// What a message came with.
struct Received {
  worker::Message message;
  std::vector<UniqueFd> fds;
  bool fds_lost = false;  // there were more
};

class AgentLink : public std::enable_shared_from_this<AgentLink> {
 public:
  using OnMessage = std::function<void(Received)>;
  using OnGone = std::function<void()>;

  // `on_gone` is called once, unless close() came first; neither is called from within send() or after close().
  static std::shared_ptr<AgentLink> open(boost::asio::io_context& io, UniqueFd socket, OnMessage on_message,
                                         OnGone on_gone);

  // The descriptors stay the caller's: copies are sent.
  void send(const worker::Message& message, const std::vector<int>& fds = {});
  // Hangs up, without a word to whoever owns this.
  void close();

 private:
  static constexpr std::size_t kMostWaiting = 4096;
  struct Waiting {
    std::string text;
    std::vector<UniqueFd> fds;
  };

  AgentLink(boost::asio::io_context& io, UniqueFd socket, OnMessage on_message, OnGone on_gone);
  void await_packets();
  void take_packets();
  bool take(Packet packet);
  void await_room();
  void send_waiting();
  void hang_up(const std::string& why);

  boost::asio::posix::stream_descriptor socket_;
  OnMessage on_message_;
  OnGone on_gone_;
  std::deque<Waiting> waiting_;
};

}  // namespace underpass::control
