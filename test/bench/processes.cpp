// SPDX-License-Identifier: Apache-2.0
#include "test/bench/processes.h"

#include <sched.h>

#include <sstream>
#include <string>

#include "test/support/files.h"

namespace underpass::bench {

namespace fs = test::fs;

namespace {

std::vector<fs::path> tasks_of(pid_t pid) {
  std::vector<fs::path> tasks;
  std::error_code gone;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone))
    tasks.push_back(task.path());
  return tasks;
}

}  // namespace

void pin(pid_t pid, int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(cpu), &cpus);
  for (const fs::path& task : tasks_of(pid))
    if (::sched_setaffinity(std::stoi(task.filename().string()), sizeof cpus, &cpus) != 0)
      test::throw_errno("pin to CPU " + std::to_string(cpu));
}

double cpu_seconds_of(pid_t pid) {
  double nanoseconds = 0;
  for (const fs::path& task : tasks_of(pid)) nanoseconds += std::stod(test::read_file(task / "schedstat"));
  return nanoseconds / 1e9;
}

std::vector<pid_t> processes_in(const fs::path& cgroup) {
  std::vector<pid_t> out;
  for (const auto& entry : fs::recursive_directory_iterator(cgroup)) {
    if (entry.path().filename() != "cgroup.procs") continue;
    std::istringstream lines(test::read_file(entry.path()));
    for (pid_t pid = 0; lines >> pid;) out.push_back(pid);
  }
  return out;
}

}  // namespace underpass::bench
