// SPDX-License-Identifier: Apache-2.0
// Network namespaces that the CNI plugin hands over before a process of their pod runs. A descriptor keeps a namespace
// alive, a dead sandbox's too, so each is let go as soon as something else leads there or it is no longer wanted.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/dataplane/pod_finder.h"
#include "underpass/ip_address.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {

class HandedNetns {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Of the pod whose control group has this UID. One of before is let go: it was another sandbox's.
  void put(const std::string& uid, UniqueFd netns, std::vector<IpAddress> ips, Time now);
  void take_back(const std::string& uid) { all_.erase(uid); }

  // Whether one is held for this pod.
  [[nodiscard]] bool holds(const std::string& uid) const;
  // What is in the one that is held.
  [[nodiscard]] Result<compile::NetnsFact> fact(const std::string& uid, Time now);
  // Whether it is this one.
  [[nodiscard]] bool is(const std::string& uid, const PodNetns& netns) const;
  // The descriptor alone: a process leads there now.
  void let_go(const std::string& uid);
  // The addresses that the plugin was told for the namespace with this cookie, held or let go.
  [[nodiscard]] std::vector<IpAddress> announced(const std::string& uid, NetnsCookie cookie) const;

  // `living`: of the pods of this node that have not terminated. Lets go what nobody will come for.
  void forget_others(const std::set<std::string>& living, Time now);

 private:
  struct One {
    UniqueFd netns;  // none: let go
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::vector<IpAddress> ips;
    Time handed;
    std::optional<Time> seen;  // its pod, for the last time
    Time looked;
    std::optional<Result<compile::NetnsFact>> fact;
  };
  void look(One& one, Time now);

  std::map<std::string, One> all_;
};

}  // namespace underpass::dataplane
