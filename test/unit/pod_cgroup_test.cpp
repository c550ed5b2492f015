// SPDX-License-Identifier: Apache-2.0
// Whose a process is, by /proc/PID/cgroup as kubelets, runtimes and kernels of all kinds leave it, and by what a
// container may do to it.
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "agent/dataplane/pod_cgroup.h"

namespace underpass::dataplane {
namespace {

const std::string kUid = "2c48913c-b29f-11e7-9350-020968147796";
const std::string kMangled = "2c48913c_b29f_11e7_9350_020968147796";
const std::string kOther = "daa5c7ee-3484-4533-af39-3591564fd03e";
const std::string kOtherMangled = "daa5c7ee_3484_4533_af39_3591564fd03e";
const std::string kHash = "9ab0f0f6d0a1a5a0b1b1c2c2d3d3e4e4";
const std::string kId = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";

// The three kernels' ways to say one path. The hybrid one is that of a runtime which leaves cgroup2 to systemd.
std::string v2(const std::string& path) { return "0::" + path + "\n"; }
std::string v1(const std::string& path) {
  std::string out;
  int number = 12;
  for (const char* controllers : {"pids", "memory", "cpu,cpuacct", "net_cls,net_prio", "name=systemd"})
    out += std::to_string(number--) + ":" + controllers + ":" + path + "\n";
  return out;
}
std::string hybrid(const std::string& path) {
  return "13:misc:/\n" + v1(path) + "0::/system.slice/containerd.service\n";
}

std::string uid_of(const std::string& text, const std::string& own = "0::/system.slice/underpassd.service\n") {
  const auto found = find_pod(text, own);
  return found ? found->uid : "none";
}

struct Layout {
  const char* name;
  std::string path;
  std::string uid = kUid;
};

std::vector<Layout> layouts() {
  const std::string burstable = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kMangled + ".slice";
  return {
      {"systemd, containerd", burstable + "/cri-containerd-" + kId + ".scope"},
      {"systemd, CRI-O", burstable + "/crio-" + kId + ".scope"},
      {"systemd, CRI-O, a group of the container's", burstable + "/crio-" + kId + ".scope/container"},
      {"systemd, Docker", burstable + "/docker-" + kId + ".scope"},
      {"systemd, podman", burstable + "/libpod-" + kId + ".scope"},
      {"systemd, the pod itself", burstable},
      {"systemd, best effort", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kMangled +
                                   ".slice/cri-containerd-" + kId + ".scope"},
      {"systemd, guaranteed", "/kubepods.slice/kubepods-pod" + kMangled + ".slice/crio-" + kId + ".scope"},
      {"systemd, dashes", "/kubepods.slice/kubepods-pod" + kUid + ".slice/docker-" + kId + ".scope"},
      {"systemd, static",
       "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kHash + ".slice/cri-containerd-" + kId +
           ".scope",
       kHash},
      {"systemd, kind",
       "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
       "kubelet-kubepods-burstable-pod" +
           kMangled + ".slice/cri-containerd-" + kId + ".scope"},
      {"systemd, kind seen from outside", "/system.slice/docker-" + kId +
                                              ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" +
                                              kMangled + ".slice/cri-containerd-" + kId + ".scope"},
      {"systemd, a runtime that is not told so",
       "/system.slice/containerd.service/kubepods-besteffort-pod" + kMangled + ".slice:cri-containerd:" + kId},
      {"cgroupfs, burstable", "/kubepods/burstable/pod" + kUid + "/" + kId},
      {"cgroupfs, best effort", "/kubepods/besteffort/pod" + kUid + "/" + kId},
      {"cgroupfs, guaranteed", "/kubepods/pod" + kUid + "/" + kId},
      {"cgroupfs, CRI-O", "/kubepods/burstable/pod" + kUid + "/crio-" + kId},
      {"cgroupfs, static", "/kubepods/burstable/pod" + kHash + "/" + kId, kHash},
      {"cgroupfs, kind", "/kubelet/kubepods/burstable/pod" + kUid + "/" + kId},
      {"cgroupfs, kind seen from outside", "/docker/" + kId + "/kubelet/kubepods/besteffort/pod" + kUid + "/" + kId},
      {"cgroupfs, a cgroup that is gone", "/kubepods/pod" + kUid + "/" + kId + " (deleted)"},
      // From within a control group namespace.
      {"namespace, systemd, same class", "/../../kubepods-burstable-pod" + kMangled + ".slice/crio-" + kId + ".scope"},
      {"namespace, systemd, another class", "/../../../kubepods-besteffort.slice/kubepods-besteffort-pod" + kMangled +
                                                ".slice/cri-containerd-" + kId + ".scope"},
      {"namespace, systemd, guaranteed", "/../../../kubepods-pod" + kMangled + ".slice/docker-" + kId + ".scope"},
      {"namespace, systemd, from a service", "/../../kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" +
                                                 kMangled + ".slice/crio-" + kId + ".scope"},
      {"namespace, cgroupfs, same class", "/../../pod" + kUid + "/" + kId},
      {"namespace, cgroupfs, another class", "/../../../besteffort/pod" + kUid + "/" + kId},
      {"namespace, cgroupfs, from a service", "/../../kubepods/pod" + kUid + "/" + kId},
      {"namespace, kind", "/../../../kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + kMangled +
                              ".slice/cri-containerd-" + kId + ".scope"},
  };
}

TEST_CASE("pod cgroup: every layout in every version") {
  for (const auto& layout : layouts()) {
    CAPTURE(layout.name);
    CHECK(uid_of(v2(layout.path)) == layout.uid);
    CHECK(uid_of(v1(layout.path)) == layout.uid);
    CHECK(uid_of(hybrid(layout.path)) == layout.uid);
    CHECK_FALSE(find_pod(v2(layout.path), "")->helper);
  }
}

TEST_CASE("pod cgroup: what a container makes below its own is its own") {
  const std::string inner[] = {"/kubepods/burstable/pod" + kOther + "/" + kId,
                               "/pod" + kOther,
                               "/kubepods.slice/kubepods-pod" + kOtherMangled + ".slice/crio-" + kId + ".scope",
                               "/kubepods-pod" + kOtherMangled + ".slice",
                               "/kubepods-pod" + kOtherMangled + ".slice:cri-containerd:" + kId,
                               "/a:b/0::/kubepods/pod" + kOther};
  for (const auto& layout : layouts()) {
    for (const auto& name : inner) {
      CAPTURE(layout.path + name);
      CHECK(uid_of(v2(layout.path + name)) == layout.uid);
      CHECK(uid_of(v1(layout.path + name)) == layout.uid);
      CHECK(uid_of(v1(layout.path) + v2(layout.path + name)) == layout.uid);
    }
  }
}

TEST_CASE("pod cgroup: what is no pod") {
  const std::string texts[] = {
      "",
      "\n",
      "0::",
      "0::/\n",
      "no colon at all /kubepods/pod" + kUid,
      v2("/system.slice/containerd.service"),
      v2("/kubepods"),
      v2("/kubepods.slice/kubepods-burstable.slice"),
      v2("/kubepods/burstable/podinfo"),
      v2("/kubepods/pod" + kUid.substr(1)),
      v2("/kubepods/pod" + kUid + "0"),
      v2("/kubepods/pod2c48913g-b29f-11e7-9350-020968147796"),
      v2("/kubepods/pod2c48913c-b29f-11e7-9350.020968147796"),
      v2("/pod" + kUid),
      v2("/libpod_parent/pod" + kUid),
      v2("/notkubepods/pod" + kUid),
      v2("/burstable/pod" + kUid),
      v2("/notkubepods.slice/notkubepods-pod" + kMangled + ".slice"),
      v2("/kubepods.slice/kubepods-premium-pod" + kMangled + ".slice"),
      v2("/kubepods.slice/kubepods-pod" + kMangled + ".scope"),
      // Somebody beside the pods of a kubelet, seen from a namespace.
      v2("/../../../user.slice/user-1000.slice/kubepods/pod" + kUid + "/x"),
      v2("/../../user.slice/kubepods.slice/kubepods-pod" + kMangled + ".slice"),
      // In two pods at once.
      "2:pids:/kubepods/pod" + kUid + "/x\n" + v2("/kubepods/pod" + kOther + "/x"),
  };
  for (const auto& text : texts) {
    CAPTURE(text);
    CHECK(uid_of(text) == "none");
  }
}

TEST_CASE("pod cgroup: an agent in a pod knows where its kubelet begins") {
  const std::string outer = "/kubepods/burstable/pod" + kOther + "/" + kId;
  const std::string agent = "/kubepods/burstable/pod11111111-1111-1111-1111-111111111111/" + kId;
  const std::string pod = "/kubepods/besteffort/pod" + kUid + "/" + kId;
  struct Row {
    std::string own;
    std::string path;
    std::string uid;
  };
  const Row rows[] = {
      {agent, pod, kUid},
      {agent, "/kubepods/pod" + kUid, kUid},
      {agent, "/docker/" + kId + "/kubelet" + pod, "none"},
      {agent, "/user.slice/user-1000.slice" + pod, "none"},
      {agent, outer + "/kubelet" + pod, kOther},
      // A node that is a pod of another cluster, without a namespace of its own.
      {outer + "/kubelet" + agent, outer + "/kubelet" + pod, kUid},
      {outer + "/kubelet" + agent, outer + "/kubelet" + pod + "/kubelet" + agent, kUid},
      {outer + "/kubelet" + agent, outer + pod, "none"},
      {outer + "/kubelet" + agent, outer + "/x", "none"},
      {outer + "/kubelet" + agent, pod, "none"},
      {"/docker/" + kId + "/kubelet" + agent, "/docker/" + kId + "/kubelet" + pod, kUid},
      {"/docker/" + kId + "/kubelet" + agent, "/docker/" + kOther + "/kubelet" + pod, "none"},
      // Slices: the root is what stands before the kubelet's.
      {"/kubepods.slice/kubepods-pod11111111_1111_1111_1111_111111111111.slice/crio-" + kId + ".scope",
       "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kMangled + ".slice/crio-1.scope", kUid},
      {"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod11111111_1111_1111_1111_111111111111.slice/x",
       "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" +
           kMangled + ".slice/x",
       kUid},
  };
  for (const auto& row : rows) {
    CAPTURE(row.own);
    CAPTURE(row.path);
    CHECK(uid_of(v2(row.path), v2(row.own)) == row.uid);
    CHECK(uid_of(hybrid(row.path), hybrid(row.own)) == row.uid);
  }
}

TEST_CASE("pod cgroup: a runtime's helper is told from the pod's own processes") {
  const std::string slice = "/kubepods.slice/kubepods-pod" + kMangled + ".slice";
  CHECK(find_pod(v2(slice + "/crio-conmon-" + kId + ".scope"), "") == PodProcess{kUid, true});
  CHECK(find_pod(v1("/kubepods/pod" + kUid + "/crio-conmon-" + kId), "") == PodProcess{kUid, true});
  CHECK(find_pod(v2("/kubepods/pod" + kUid + "/libpod-conmon-" + kId), "") == PodProcess{kUid, true});
  CHECK(find_pod(v1("/kubepods/pod" + kUid + "/conmon"), "") == PodProcess{kUid, true});
  // It may be moved in some hierarchies only.
  CHECK(find_pod("2:pids:" + slice + "/x\n" + v2(slice + "/crio-conmon-" + kId + ".scope"), "") ==
        PodProcess{kUid, true});
  CHECK(find_pod(v2(slice + "/crio-" + kId + ".scope/crio-conmon-x"), "") == PodProcess{kUid, false});
}

TEST_CASE("pod cgroup: which groups hold pods, and which are one") {
  for (const char* name : {"kubepods", "kubepods.slice", "kubelet-kubepods.slice"}) CHECK(is_pods_root(name));
  for (const char* name : {"kubepods-burstable.slice", "notkubepods.slice", "notkubepods", "kubelet.slice", ""})
    CHECK_FALSE(is_pods_root(name));
  CHECK(is_pod("pod" + kUid));
  CHECK(is_pod("kubepods-besteffort-pod" + kMangled + ".slice"));
  CHECK_FALSE(is_pod("kubepods-besteffort.slice"));
  CHECK_FALSE(is_pod("podinfo"));
}

}  // namespace
}  // namespace underpass::dataplane
