// SPDX-License-Identifier: Apache-2.0
// What a test run makes outside its own process carries the pid of the run in its name, so that what a killed run left
// can be told from what a living one uses, and be removed:
//   cgroups <cgroup2>/up-test-<pid>-<n>, folders <tmp>/up-test-<pid>-<n>, network namespaces and links up-<pid>-...
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace underpass::test {

// The cgroup2 mount of this machine: not always /sys/fs/cgroup. Throws where there is none.
std::filesystem::path cgroup2_mount();

// "up-<pid>-": what names of network namespaces and links begin with (15 characters are the limit for a link).
std::string name_prefix(pid_t pid);
// "up-test-<pid>-": the same for cgroups and folders.
std::string sandbox_prefix(pid_t pid);

// Removes a cgroup and those below it; with `kill`, what still runs in them is ended first. False: something is left.
bool remove_cgroup(const std::filesystem::path& cgroup, bool kill);

// Removes everything that the run `pid` left.
void remove_traces_of(pid_t pid);

// Removes what runs left that are no longer alive.
void sweep_leftovers();

}  // namespace underpass::test
