// SPDX-License-Identifier: Apache-2.0
// The walk over a recorded /proc, in which files stand for namespaces, and over recorded trees of control groups. With
// real processes: test/netns/pods.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "agent/dataplane/pod_finder.h"
#include "test/support/temp_folder.h"

namespace underpass::dataplane {
namespace {

namespace fs = std::filesystem;

const std::string kWeb = "2c48913c-b29f-11e7-9350-020968147796";
const std::string kDb = "daa5c7ee-3484-4533-af39-3591564fd03e";

class Proc {
 public:
  Proc() {
    folder_.write("host", "");
    add(1, "/init.scope", "host", 1);
    fs::create_directory(folder_ / "self");
    folder_.write("self/cgroup", "0::/system.slice/underpassd.service\n");
    folder_.write("uptime", "1 1");
  }

  // `netns` empty: a zombie.
  void add(int pid, const std::string& cgroup, const std::string& netns, int started) {
    const auto name = std::to_string(pid);
    fs::create_directories(folder_ / (name + "/ns"));
    folder_.write(name + "/cgroup", "0::" + cgroup + "\n");
    folder_.write(name + "/stat", name + " (a ) b 7 8 9 10 11 12 13 14 15 16) S 1 " + name + " " + name +
                                      " 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 " + std::to_string(started) +
                                      " 2465792 11 1844\n");
    if (netns.empty()) return;
    if (!fs::exists(folder_ / netns)) folder_.write(netns, "");
    fs::create_symlink(folder_ / netns, folder_ / (name + "/ns/net"));
  }
  void remove(const std::string& name) { folder_.remove(name); }

  [[nodiscard]] auto find(const std::set<std::string>& uids) const { return PodFinder(folder_.path()).find(uids); }
  [[nodiscard]] PodNetns netns(int pid, const std::string& name, std::size_t processes, std::uint64_t started) const {
    struct stat file{};
    test::require(::stat((folder_ / name).c_str(), &file) == 0, name);
    return {.path = (folder_ / std::to_string(pid)).string() + "/ns/net",
            .pid = pid,
            .device = file.st_dev,
            .inode = file.st_ino,
            .processes = processes,
            .started = started};
  }
  [[nodiscard]] fs::path path() const { return folder_.path(); }

 private:
  test::TempFolder folder_;
};

TEST_CASE("pod finder: the namespaces of the wanted pods, the oldest first, the node's own last") {
  Proc proc;
  proc.add(10, "/kubepods/pod" + kWeb + "/pause", "web", 300);
  proc.add(11, "/kubepods/pod" + kWeb + "/app", "web", 200);
  proc.add(12, "/kubepods/pod" + kWeb + "/app", "web", 400);
  proc.add(13, "/kubepods/pod" + kWeb + "/app", "inner", 250);
  proc.add(14, "/kubepods/pod" + kWeb + "/app", "host", 100);
  proc.add(15, "/kubepods/pod" + kDb + "/app", "db", 1);
  proc.add(16, "/system.slice/sshd.service", "host", 1);
  const auto found = proc.find({kWeb});
  REQUIRE(found.size() == 1);
  CHECK(found.at(kWeb) ==
        std::vector{proc.netns(11, "web", 3, 200), proc.netns(13, "inner", 1, 250), proc.netns(14, "host", 1, 100)});
  CHECK(proc.find({kWeb, kDb}).at(kDb) == std::vector{proc.netns(15, "db", 1, 1)});
  CHECK(proc.find({}).empty());
  CHECK(proc.find({"2c48913c-b29f-11e7-9350-020968147797"}).empty());
}

TEST_CASE("pod finder: of those that started in the same tick, the smaller number is the older") {
  Proc proc;
  proc.add(12, "/kubepods/pod" + kWeb + "/app", "inner", 7);
  proc.add(9, "/kubepods/pod" + kWeb + "/pause", "web", 7);
  proc.add(10, "/kubepods/pod" + kWeb + "/app", "web", 7);
  CHECK(proc.find({kWeb}).at(kWeb) == std::vector{proc.netns(9, "web", 2, 7), proc.netns(12, "inner", 1, 7)});
}

TEST_CASE("pod finder: zombies, conmon, and processes that vanish in mid-walk") {
  Proc proc;
  proc.add(10, "/kubepods/pod" + kWeb + "/app", "", 1);
  proc.add(11, "/kubepods/pod" + kWeb + "/crio-conmon-1", "host", 1);
  proc.add(12, "/kubepods/pod" + kWeb + "/app", "web", 1);
  proc.remove("12/cgroup");
  CHECK(proc.find({kWeb}).empty());
  proc.add(13, "/kubepods/pod" + kWeb + "/app", "web", 1);
  proc.remove("13/stat");
  CHECK(proc.find({kWeb}).at(kWeb) == std::vector{proc.netns(13, "web", 1, 0)});
  CHECK(PodFinder("/nowhere").find({kWeb}).empty());
}

TEST_CASE("pods cgroup: the folder below which all pods are, of either driver and below any root") {
  struct Row {
    const char* folders;  // made in this order
    const char* found;    // null: nothing
  };
  const std::string uid = "pod" + kWeb;
  const std::string mangled = "kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice";
  const std::string stale = "kubepods.slice/kubepods-burstable.slice kubepods/burstable/" + uid;
  const std::string stale_too = "kubepods/burstable kubepods.slice/kubepods-burstable.slice/" + mangled;
  const std::string nested = "system.slice/docker-1.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-" + mangled;
  const std::string both = "docker/1/kubelet/kubepods/" + uid + " kubepods/" + uid;
  const std::string users = "user.slice/kubepods/" + uid;
  const std::string slice = "kubepods.slice/" + mangled + " system.slice";
  const Row rows[] = {
      {"system.slice/cron.service user.slice", nullptr},
      {"kubepods.slice system.slice", "kubepods.slice"},
      {slice.c_str(), "kubepods.slice"},
      {"kubepods/burstable", "kubepods"},
      {stale.c_str(), "kubepods"},
      {stale_too.c_str(), "kubepods.slice"},
      {"kubelet.slice/kubelet-kubepods.slice", "kubelet.slice/kubelet-kubepods.slice"},
      {"kubelet/kubepods/besteffort", "kubelet/kubepods"},
      {"docker/1/kubelet/kubepods", "docker/1/kubelet/kubepods"},
      {nested.c_str(), "system.slice/docker-1.scope/kubelet.slice/kubelet-kubepods.slice"},
      {both.c_str(), "kubepods"},
      {users.c_str(), nullptr},
      {"a/b/c/d/e/kubepods", nullptr},
      {"notkubepods kubepods-burstable.slice", nullptr},
  };
  for (const auto& row : rows) {
    CAPTURE(row.folders);
    const test::TempFolder root;
    std::istringstream names(row.folders);
    for (std::string name; names >> name;) fs::create_directories(root / name);
    root.write("cgroup.procs", "");
    const auto found = find_pods_cgroup(root.path());
    CHECK(found == (row.found == nullptr ? std::nullopt : std::optional((root / row.found).string())));
  }
  CHECK(find_pods_cgroup("/nowhere") == std::nullopt);
}

}  // namespace
}  // namespace underpass::dataplane
