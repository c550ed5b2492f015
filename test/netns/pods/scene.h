// SPDX-License-Identifier: Apache-2.0
// A node with pods that a kubelet could have made, and what the agent's own code finds of them: no agent runs.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "agent/dataplane/netns.h"
#include "agent/dataplane/netns_facts.h"
#include "agent/dataplane/pod_finder.h"
#include "test/support/files.h"
#include "test/support/kubelet_pod.h"
#include "test/support/pod_net.h"
#include "test/support/sandbox.h"

namespace underpass::test {

inline const std::string kWeb = "2c48913c-b29f-11e7-9350-020968147796";
inline const std::string kDb = "daa5c7ee-3484-4533-af39-3591564fd03e";

inline std::vector<IpAddress> ips_of(const Place& place) {
  return {IpAddress::parse(place.v4).value(), IpAddress::parse(place.v6).value()};
}

inline ino_t inode_of(const std::string& path) {
  struct stat file{};
  if (::stat(path.c_str(), &file) != 0) throw_errno(path);
  return file.st_ino;
}

inline std::string ns_path(const Process& process) { return "/proc/" + std::to_string(process.pid()) + "/ns/net"; }

struct Node {
  Sandbox sandbox;
  PodNet net;
  model::Snapshot snapshot;
  dataplane::NetnsFactCache::Clock::time_point now = dataplane::NetnsFactCache::Clock::now();
  dataplane::NetnsFactCache cache{dataplane::PodFinder(), [this] { return now; }};

  // The object of a pod that stands at `place`.
  model::Pod& add_object(const std::string& name, const std::string& uid, const Place& place) {
    auto& pod = snapshot.pods[{"shop", name}];
    pod.id = {"shop", name};
    pod.uid = pod.cgroup_uid = uid;
    pod.node_name = "node-a";
    pod.ips = ips_of(place);
    return pod;
  }

  // As the agent does each second, so that the next one may walk.
  Result<compile::NetnsFact> fact(const std::string& name = "web") {
    now += seconds(1);
    return cache.refresh(snapshot, "node-a").at({"shop", name});
  }
};

}  // namespace underpass::test
