// SPDX-License-Identifier: Apache-2.0
// What the machine must offer before anything is loaded: a cgroup2 mount, a bpffs, privileges. Each failure says what
// to do about it.
#pragma once

#include <cstdint>
#include <string>

#include "underpass/result.h"

namespace underpass::dataplane {

// The first cgroup2 mount of /proc/mounts. On hybrid hosts that is not /sys/fs/cgroup.
Result<std::string> find_cgroup_root();
// `path` is a folder of a cgroup2 hierarchy.
Result<void> check_cgroup_root(const std::string& path);

// By which the kernel's programs know a folder of a cgroup2 hierarchy, whatever name it has in whose namespace.
Result<std::uint64_t> id_of_cgroup(const std::string& path);

// `path` is on a bpffs. The usual place /sys/fs/bpf is mounted if nothing is there yet, but for `in_container`: what is
// mounted there, and pinned, would go with it.
Result<void> prepare_bpffs(const std::string& path, bool in_container);

// The capabilities that loading, attaching and entering network namespaces need.
Result<void> check_capabilities();

// Bytes that short-circuited connections may hold by default: min(tcp_mem[0] pages / 4, RAM / 64).
std::uint64_t default_node_budget();

}  // namespace underpass::dataplane
