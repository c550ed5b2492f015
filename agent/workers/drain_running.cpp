// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/drain_running.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "agent/dataplane/host.h"
#include "agent/workers/cgroups.h"
#include "agent/workers/launch.h"
#include "underpass/packet_socket.h"
#include "underpass/worker_codec.h"

namespace underpass::workers {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Running {
  std::string name;
  Launched worker;
  fs::path cgroup;  // in its cgroup2 mount; empty: not found
};

fs::path cgroup_of(pid_t pid) {
  const auto mount = dataplane::find_cgroup_root();
  std::ifstream lines("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; mount && std::getline(lines, line);)
    if (line.starts_with("0::/")) {
      // In a container "/../../underpass/worker-shop": what is below the root that both have.
      std::string_view below(line);
      for (below.remove_prefix(4); below.starts_with("../");) below.remove_prefix(3);
      return fs::path(*mount) / below;
    }
  return {};
}

bool has_ended(const Running& running, std::chrono::milliseconds wait) {
  pollfd end{.fd = running.worker.pidfd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&end, 1, static_cast<int>(wait.count())) > 0;
}

void end_by(const Running& running, Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  if (has_ended(running, std::max(left, std::chrono::milliseconds(0)))) return;
  ::syscall(SYS_pidfd_send_signal, running.worker.pidfd.get(), SIGKILL, nullptr, 0);
  (void)has_ended(running, std::chrono::seconds(5));
}

// <cgroup root>/underpass/worker-NAME
void remove_cgroups(const Running& running) {
  const auto top = running.cgroup.parent_path();
  if (running.cgroup.filename() != "worker-" + running.name || top.filename() != "underpass") return;
  const auto cgroups = Cgroups::make(top.parent_path());
  if (!cgroups) return;
  cgroups->remove_worker(running.name);
  cgroups->remove_all();
}

}  // namespace

std::vector<std::string> drain_running(const std::string& run_dir, std::chrono::milliseconds timeout,
                                       const std::function<void(std::string_view)>& progress) {
  const auto deadline = Clock::now() + timeout;
  std::vector<Running> all;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run_dir + "/workers", none)) {
    auto found = find_running(entry.path());
    if (!found) continue;
    const auto cgroup = cgroup_of(found->pid);
    all.push_back({.name = entry.path().stem(), .worker = std::move(*found), .cgroup = cgroup});
    (void)send_packet(all.back().worker.control.get(), worker::encode(worker::Drain{}));
  }
  std::vector<std::string> names;
  for (const auto& running : all) {
    if (!has_ended(running, std::chrono::milliseconds(100)))
      progress("worker " + running.name + ": waiting for its connections to end");
    end_by(running, deadline);
    fs::remove(run_dir + "/workers/" + running.name + ".sock", none);
    remove_cgroups(running);
    names.push_back(running.name);
  }
  return names;
}

}  // namespace underpass::workers
