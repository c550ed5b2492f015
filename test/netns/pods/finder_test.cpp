// SPDX-License-Identifier: Apache-2.0
// Real processes in real control groups of every layout are found, with their network namespace; what a container does
// below its own control group leads nowhere else.
#include <doctest/doctest.h>
#include <sched.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "test/netns/pods/scene.h"

namespace underpass::test {
namespace {

using Driver = KubeletLayout::Driver;
using Version = KubeletLayout::Version;
using Runtime = KubeletLayout::Runtime;
using dataplane::PodFinder;

std::vector<KubeletLayout> all_layouts() {
  std::vector<KubeletLayout> out;
  for (const auto driver : {Driver::kSystemd, Driver::kCgroupfs})
    for (const auto version : {Version::kV1, Version::kV2, Version::kHybrid})
      for (const auto runtime : {Runtime::kContainerd, Runtime::kCrio})
        for (const char* machine : {"", "docker/8d461fa57657"})
          for (const char* root : {"", "kubelet"})
            for (const char* quality : {"burstable", "besteffort", ""})
              out.push_back({driver, version, runtime, machine, root, quality});
  return out;
}

TEST_CASE("pod finder: every layout of a kubelet's") {
  Node node;
  const auto& web = node.net.add("web");
  node.add_object("web", kWeb, web);
  for (const auto& layout : all_layouts()) {
    CAPTURE(layout.to_string());
    KubeletPod pod(node.sandbox, kWeb, web.netns, layout);
    pod.add_container();
    pod.add_container();
    const auto found = PodFinder().find({kWeb, kDb});
    REQUIRE(found.size() == 1);
    REQUIRE(found.at(kWeb).size() == 1);
    const auto& netns = found.at(kWeb).front();
    CHECK(netns.path == ns_path(pod.pause()));
    CHECK(netns.inode == inode_of(web.netns));
    CHECK(netns.processes == 3);
    const auto fact = node.fact();
    REQUIRE_MESSAGE(fact, fact.error().message);
    CHECK(fact->cookie == node.net.cookie("web"));
    CHECK(fact->path == ns_path(pod.pause()));
    const auto pods_cgroup = dataplane::find_pods_cgroup(node.sandbox.cgroup());
    CHECK(pods_cgroup.has_value() == (layout.version != Version::kV1));
    if (pods_cgroup) CHECK(pod.cgroups().back().string().starts_with(*pods_cgroup + "/"));
  }
  CHECK(PodFinder().find({kWeb}).empty());
  CHECK_FALSE(dataplane::find_pods_cgroup(node.sandbox.cgroup()));
}

TEST_CASE("pod finder: a container that names a control group like another pod is found as itself") {
  Node node;
  const auto& web = node.net.add("web");
  const auto& db = node.net.add("db");
  for (const auto driver : {Driver::kSystemd, Driver::kCgroupfs}) {
    for (const auto version : {Version::kV1, Version::kV2, Version::kHybrid}) {
      const KubeletLayout layout{.driver = driver, .version = version};
      CAPTURE(layout.to_string());
      KubeletPod pod(node.sandbox, kWeb, web.netns, layout);
      const auto scope = pod.next_scope();
      pod.add_process(scope + "/kubepods/burstable/pod" + kDb + "/x", db.netns);
      pod.add_process(scope + "/kubepods.slice/kubepods-poddaa5c7ee_3484_4533_af39_3591564fd03e.slice/x", db.netns);
      pod.add_process("pod" + kDb, db.netns);
      const auto found = PodFinder().find({kWeb, kDb});
      REQUIRE(found.size() == 1);
      REQUIRE(found.at(kWeb).size() == 2);
      CHECK(found.at(kWeb)[0].inode == inode_of(web.netns));
      CHECK(found.at(kWeb)[1].processes == 3);
    }
  }
}

// What an agent finds that stands in this control group, seen from the node's namespace or from one of its own.
std::set<std::string> found_from(const std::set<std::string>& uids, bool own_namespace) {
  std::set<std::string> out;
  std::thread([&] {
    if (own_namespace && ::unshare(CLONE_NEWCGROUP) != 0) throw_errno("unshare cgroup namespace");
    for (const auto& [uid, netns] : PodFinder().find(uids)) out.insert(uid);
  }).join();
  return out;
}

TEST_CASE("pod finder: an agent that is a pod finds those beside it, with and without a namespace of its own") {
  Node node;
  const std::string agent_uid = "11111111-1111-1111-1111-111111111111";
  const std::string stranger = "22222222-2222-2222-2222-222222222222";
  const std::string outer = "33333333-3333-3333-3333-333333333333";
  for (const auto driver : {Driver::kSystemd, Driver::kCgroupfs}) {
    for (const auto version : {Version::kV1, Version::kV2, Version::kHybrid}) {
      for (const char* quality : {"burstable", "besteffort", ""}) {
        // The node is itself a pod of another cluster.
        const KubeletLayout layout{.driver = driver,
                                   .version = version,
                                   .machine = "kubepods/pod" + outer + "/1234",
                                   .root = "kubelet",
                                   .quality = quality};
        CAPTURE(layout.to_string());
        auto other = layout;
        other.quality = "besteffort";
        auto elsewhere = other;
        elsewhere.machine = "user.slice/user-1000.slice";
        KubeletPod agent(node.sandbox, agent_uid, "", layout);
        KubeletPod web(node.sandbox, kWeb, "", layout);
        KubeletPod db(node.sandbox, kDb, "", other);
        KubeletPod hostile(node.sandbox, stranger, "", elsewhere);
        db.add_process(db.next_scope() + "/kubelet/kubepods/pod" + stranger, "");
        const InsidePod inside(node.sandbox, agent, agent.next_scope());
        const std::set<std::string> all{kWeb, kDb, stranger, outer};
        CHECK(found_from(all, false) == std::set{kWeb, kDb});
        CHECK(found_from(all, true) == std::set{kWeb, kDb});
      }
    }
  }
}

}  // namespace
}  // namespace underpass::test
