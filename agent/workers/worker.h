// SPDX-License-Identifier: Apache-2.0
// One worker process, as the agent has it: the connection to it, and what it said. What it says of others is not
// believed (worker_protocol.h); what it does is told to whoever supervises it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/workers/launch.h"
#include "underpass/worker_protocol.h"

namespace boost::asio {
class io_context;
}

namespace underpass::workers {

// How a worker ended: "killed by signal 11", "exit code 1", or only that it did, where it was no child of this agent.
std::string describe_end(pid_t pid);

class Worker {
 public:
  // Called on the io_context, never from within a call of the supervisor's.
  struct Events {
    std::function<void(const worker::Hello&)> hello;
    // Listeners that an adopted worker has.
    std::function<void(const worker::Listeners&, std::vector<UniqueFd>)> listeners;
    std::function<void()> ready;
    std::function<void(const worker::Configured&)> configured;
    std::function<void(const worker::Want&)> want;
    std::function<void(const worker::Metrics&)> metrics;
    std::function<void(worker::Requests)> requests;
    // The process has ended, or does not speak the protocol (then it still runs).
    std::function<void(const std::string& why, bool ended)> lost;
  };

  // `id`: the supervisor's name for it.
  Worker(boost::asio::io_context& io, std::uint64_t id, Launched launched, bool adopted, Events events);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Queued where the socket is full. The descriptors are closed when they are sent.
  void send(const worker::Message& message, std::vector<UniqueFd> fds = {});
  // What it has not taken yet.
  [[nodiscard]] std::size_t queued() const;
  // Its process and all in it. Ended, it is reported as lost.
  void kill() const;

  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] pid_t pid() const;
  [[nodiscard]] bool adopted() const;
  [[nodiscard]] const worker::Hello& hello() const;
  [[nodiscard]] const worker::Report& report() const;
  [[nodiscard]] std::chrono::system_clock::time_point since() const;
  // When it last said something.
  [[nodiscard]] std::chrono::steady_clock::time_point last_heard() const;

 private:
  class Impl;
  std::uint64_t id_;
  std::shared_ptr<Impl> impl_;
};

}  // namespace underpass::workers
