// SPDX-License-Identifier: Apache-2.0
// Every layout of control groups that kubelets and runtimes make, once through the whole agent, which is a pod of that
// node itself: the pod is found by its objects' UID alone, and its connections are the mesh's.
#include <doctest/doctest.h>

#include "test/kube/scene.h"

namespace underpass::test {
namespace {

using Driver = KubeletLayout::Driver;
using Version = KubeletLayout::Version;
using Runtime = KubeletLayout::Runtime;

// Each driver with each version; runtimes, where the node is and how its pods rank, in turn.
std::vector<KubeletLayout> layouts() {
  const std::pair<const char*, const char*> places[] = {{"", ""}, {"docker/8d461fa57657", "kubelet"}, {"", "kubelet"}};
  const char* qualities[] = {"burstable", "besteffort", ""};
  std::vector<KubeletLayout> out;
  for (const auto driver : {Driver::kSystemd, Driver::kCgroupfs})
    for (const auto version : {Version::kV1, Version::kV2, Version::kHybrid}) {
      const auto& [machine, root] = places[out.size() % 3];
      const auto runtime = out.size() % 2 == 0 ? Runtime::kContainerd : Runtime::kCrio;
      out.push_back({driver, version, runtime, machine, root, qualities[out.size() % 3]});
    }
  return out;
}

TEST_CASE("pods of every kubelet's layout are enrolled") {
  if (skip_without_cluster("cgroup layouts")) return;
  MeshCluster& cluster = MeshCluster::shared();
  cluster.put(kInMesh, "layouts");
  for (const KubeletLayout& layout : layouts()) {
    CAPTURE(layout.to_string());
    KubeNode node(cluster, {.layout = layout});
    node.run(node.pod("layouts", "a"));
    node.run(node.pod("layouts", "b"));
    node.start();
    node.wait_enrolled("a");
    node.wait_enrolled("b");
    CHECK(node.way("a", "b") == "direct");
  }
}

}  // namespace
}  // namespace underpass::test
