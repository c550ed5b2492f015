// SPDX-License-Identifier: Apache-2.0
// Where the pods of this node are, without asking a container runtime: the kubelet names a pod's control group after
// its UID, so /proc/PID/cgroup of each process says whose it is (pod_cgroup.h), and /proc/PID/ns/net where it lives. It
// holds for cgroup v1, v2 and both at once, for the drivers systemd and cgroupfs, for containerd and CRI-O, and for
// kubelets below another root (a node that is a container itself).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace underpass::dataplane {

// A network namespace in which processes of a pod run. Most pods have one; a container may make others.
struct PodNetns {
  std::string path;  // "/proc/4711/ns/net", of its oldest process
  pid_t pid = 0;     // of that one
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::size_t processes = 0;
  std::uint64_t started = 0;  // when that process was, in ticks since the boot

  bool operator==(const PodNetns&) const = default;
};

class PodFinder {
 public:
  // `proc`: where the node's processes are seen (the agent's pod has hostPID).
  explicit PodFinder(std::string proc = "/proc");

  // The namespaces of the pods with these UIDs, in one walk over the processes: those of the oldest processes first,
  // since a pod begins with its sandbox, and the node's own last. Pods without a process are not in it.
  [[nodiscard]] std::map<std::string, std::vector<PodNetns>> find(const std::set<std::string>& uids) const;

 private:
  std::string proc_;
};

// The cgroup2 folder below which all pods are, for --pods-cgroup: "<cgroup_root>/kubepods.slice", "…/kubepods", or the
// same below another kubelet root; nothing where there is none (pods that are in cgroup v1 alone).
std::optional<std::string> find_pods_cgroup(const std::string& cgroup_root);

}  // namespace underpass::dataplane
