// SPDX-License-Identifier: Apache-2.0
// Whose a process is, by the name of its control group. The kubelet writes ".../pod<uid>" and everything below it is
// the pod's own business: a container may make groups there and name them like another pod. So only the part that this
// node's kubelet wrote counts, and this is the rule for which one that is:
//
// - An agent that sees its own pod's name in its own control group knows where its kubelet begins (nothing, or
//   "/docker/<id>/kubelet" of a node that is a container, or even a pod): only a pod right there counts.
// - An agent in a control group namespace sees "/" of itself, and of the pods beside it "/../../kubepods-..." or
//   "/../../pod<uid>": nothing but the kubelet's own groups may stand between the ".." and the pod.
// - Else (an agent that is no pod) it is the outermost pod of the path, below whatever root. Such an agent trusts those
//   who may make control groups outside of pods.
//
// In several hierarchies, all that name a pod must name the same one. The kernel lets no line break into a name, and
// shows paths as the reader's namespace has them, not the process's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace underpass::dataplane {

struct PodProcess {
  std::string uid;      // as the API writes it: with dashes; of a static pod its config hash, 32 digits
  bool helper = false;  // a runtime's own (conmon): in the pod's control group, and not in its network namespace

  bool operator==(const PodProcess&) const = default;
};

// Both texts as /proc/PID/cgroup has them; `own` is the agent's. Nothing where it is no process of a pod.
std::optional<PodProcess> find_pod(std::string_view proc_cgroup, std::string_view own);

// Whether a control group of this name is the one below which the kubelet has all pods: "kubepods",
// "kubelet-kubepods.slice".
bool is_pods_root(std::string_view name);
// "pod<uid>", "kubepods-burstable-pod<uid>.slice".
bool is_pod(std::string_view name);

}  // namespace underpass::dataplane
