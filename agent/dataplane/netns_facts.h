// SPDX-License-Identifier: Apache-2.0
// Keeps the facts about pods' network namespaces fresh at little cost: a look at the file every time, a look inside
// only when the file is another one, when there was trouble, or when the last look is too long ago. A pod that names no
// namespace is looked for by its processes: a walk over all of them, and only while some pod has no namespace that
// lives and owns its addresses.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/dataplane/handed_netns.h"
#include "agent/dataplane/pod_finder.h"
#include "underpass/model/objects.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {

class NetnsFactCache {
 public:
  using Clock = std::chrono::steady_clock;

  explicit NetnsFactCache(PodFinder finder = PodFinder(), std::function<Clock::time_point()> now = Clock::now);

  // The facts for the pods of `node_name`, as of now. Call it after every change and every second.
  compile::NetnsFacts refresh(const model::Snapshot& snapshot, const std::string& node_name);
  // When the next walk over the processes is due: a refresh() then may find a pod. Nothing where none is awaited.
  [[nodiscard]] std::optional<Clock::time_point> next_walk() const;

  // What the CNI plugin is told of a new sandbox, for the pod with this model::Pod::cgroup_uid. It counts until a
  // process of the pod is found in it; and never longer than its pod.
  void hand_over(const std::string& cgroup_uid, UniqueFd netns, std::vector<IpAddress> ips);
  void take_back(const std::string& cgroup_uid);

 private:
  // Of a pod that names its namespace, by path.
  struct Known {
    dev_t device = 0;
    ino_t inode = 0;
    Clock::time_point looked;
    Result<compile::NetnsFact> fact;
  };
  // Looked for in vain so far, in ever longer intervals, until its object changes.
  struct Search {
    model::Pod object;
    Clock::time_point next;
    std::chrono::milliseconds pause;
  };
  // A pod that is found by its processes, or is to be.
  struct Sought {
    std::string uid;
    UniqueFd process;  // its folder in /proc, which no later process of the same number takes over
    PodNetns netns;
    Clock::time_point looked;
    std::optional<Result<compile::NetnsFact>> fact;  // none: never found
    std::optional<Search> search;
  };

  Result<compile::NetnsFact> look_at(const std::string& path);
  void look_for(const std::vector<const model::Pod*>& pods, compile::NetnsFacts& facts);
  void look_again(Sought& sought);
  [[nodiscard]] bool is_settled(const Sought& sought, const model::Pod& pod) const;
  void await(Sought& sought, const model::Pod& pod);
  void walk(const std::vector<std::pair<const model::Pod*, Sought*>>& awaited);
  void choose(Sought& sought, const model::Pod& pod, const std::vector<PodNetns>& candidates);
  [[nodiscard]] std::optional<Sought> enter(const std::string& uid, const PodNetns& netns) const;
  [[nodiscard]] Result<compile::NetnsFact> fact_of(Sought& sought);

  const PodFinder finder_;
  const std::function<Clock::time_point()> clock_;
  Clock::time_point now_;  // of this refresh
  std::map<std::string, Known> known_;
  std::map<NamespacedName, Sought> sought_;
  HandedNetns handed_;
  std::optional<Clock::time_point> walked_;
};

}  // namespace underpass::dataplane
