// SPDX-License-Identifier: Apache-2.0
// A pod of real containers: podman and runc where a kubelet and its runtime would be, with the control group that the
// kubelet would name, and the network namespace that a CNI plugin would have made before.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "test/netns/pods/scene.h"
#include "test/support/podman.h"

namespace underpass::test {
namespace {

TEST_CASE("pod finder: real containers") {
  Node node;
  const auto& web = node.net.add("web");
  node.add_object("web", kWeb, web);
  Podman podman(node.sandbox);
  const std::string cgroup = "/" + node.sandbox.cgroup().filename().string() + "/kubepods/burstable/pod" + kWeb;
  const auto pause = podman.start("pause", "ns:" + web.netns, cgroup);
  podman.start("app", "container:pause", cgroup);
  const auto monitor = "/proc/" + std::to_string(podman.monitor_of("app"));

  // conmon is in the pod's control group, and not in its network namespace.
  CHECK(read_file(monitor + "/cgroup").contains("/pod" + kWeb));
  CHECK(inode_of(monitor + "/ns/net") != inode_of(web.netns));
  const auto found = dataplane::PodFinder().find({kWeb});
  REQUIRE(found.size() == 1);
  REQUIRE(found.at(kWeb).size() == 1);
  CHECK(found.at(kWeb)[0].path == "/proc/" + std::to_string(pause) + "/ns/net");
  CHECK(found.at(kWeb)[0].inode == inode_of(web.netns));
  CHECK(found.at(kWeb)[0].processes == 2);
  const auto fact = node.fact();
  REQUIRE_MESSAGE(fact, fact.error().message);
  CHECK(fact->cookie == node.net.cookie("web"));
  for (const auto& ip : ips_of(web)) CHECK(std::ranges::find(fact->addresses, ip) != fact->addresses.end());
  CHECK(dataplane::find_pods_cgroup(node.sandbox.cgroup()) == (node.sandbox.cgroup() / "kubepods").string());

  podman.remove("app");
  CHECK(node.fact() == fact);
  podman.remove("pause");
  CHECK(node.fact().error().message == "no process of the pod was found on this node (UID " + kWeb + ")");
}

}  // namespace
}  // namespace underpass::test
