// SPDX-License-Identifier: Apache-2.0
// Makes the sockets of workers, in the network namespaces of their pods. A process of its own, because programs follow
// a socket by the cgroup of the process that made it: everything made here, and nothing else, gets the mark that tells
// a worker's socket from a pod's (bpf/workers.h). It ends with the agent.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::workers {

class SocketMaker {
 public:
  // Of a process that is in this cgroup; the programs that mark its sockets must be attached already.
  explicit SocketMaker(std::string cgroup) : cgroup_(std::move(cgroup)) {}
  ~SocketMaker();
  SocketMaker(const SocketMaker&) = delete;
  SocketMaker& operator=(const SocketMaker&) = delete;

  // A listener on the loopback address of the family, at this port or, where somebody has it, any other.
  struct Listening {
    UniqueFd fd;
    std::uint16_t port = 0;
  };
  Result<Listening> listen(int netns_fd, bool v6, std::uint16_t port);
  // Sockets to dial with, not bound to anything; at most worker::kMaxDescriptors.
  Result<std::vector<UniqueFd>> dials(int netns_fd, bool v6, std::size_t count);

 private:
  struct Answer {
    std::string text;
    std::vector<UniqueFd> fds;
  };
  Result<void> start();
  void stop();
  Result<Answer> ask(const std::string& question, int netns_fd);
  // Failed because the process is gone: pid_ is none.
  Result<Answer> ask_once(const std::string& question, int netns_fd);

  std::string cgroup_;
  pid_t pid_ = -1;
  UniqueFd socket_;
};

}  // namespace underpass::workers
