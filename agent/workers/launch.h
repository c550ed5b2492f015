// SPDX-License-Identifier: Apache-2.0
// Starts a worker's process: in its cgroup, in a process namespace of its own, with nothing but the descriptors that
// worker_protocol.h names. The rest of its power it gives up itself, when it does not need its files any more.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::workers {

struct LaunchOptions {
  std::string binary;       // underpass-proxy
  std::string socket_path;  // where an agent that comes later finds it; replaced if it is there
  std::vector<std::string> cgroup_procs;
  std::string log_level;
};

struct Launched {
  pid_t pid = -1;
  UniqueFd pidfd;
  UniqueFd control;  // SOCK_SEQPACKET
};

Result<Launched> launch(const LaunchOptions& options);

// A worker that runs already: who listens at this path. Error: nobody does.
Result<Launched> find_running(const std::string& socket_path);

}  // namespace underpass::workers
