// SPDX-License-Identifier: Apache-2.0
// Processes that a row measures without having started them: where they run, and what they have used.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <vector>

namespace underpass::bench {

// All threads of it.
void pin(pid_t pid, int cpu);
// CPU time so far, of threads that are alive: relays start theirs once.
double cpu_seconds_of(pid_t pid);
// Of this cgroup and those below it.
std::vector<pid_t> processes_in(const std::filesystem::path& cgroup);

}  // namespace underpass::bench
