// SPDX-License-Identifier: Apache-2.0
// A pod of real containers: podman and runc where a kubelet and its runtime would be, with the control group that the
// kubelet would name, and the network namespace that a CNI plugin would have made before.
#include <doctest/doctest.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "test/netns/pods/scene.h"

namespace underpass::test {
namespace {

// With storage and settings of its own, below the sandbox's folder.
class Podman {
 public:
  explicit Podman(const Sandbox& sandbox) : root_(sandbox.root() / "podman") {
    fs::create_directories(root_ / "image/bin");
    fs::copy_file("/bin/busybox", root_ / "image/bin/busybox");
    write_atomically(root_ / "containers.conf",
                     "[containers]\n"
                     "default_ulimits = [\"nofile=1024:1024\", \"nproc=512:512\"]\n"
                     "pids_limit = 0\n"
                     "[engine]\n"
                     "cgroup_manager = \"cgroupfs\"\n"  // no systemd runs here
                     "runtime = \"runc\"\n"             // crun refuses both versions of cgroups at once
                     "events_logger = \"none\"\n"
                     "lock_type = \"file\"\n");
    const auto archive = (root_ / "image.tar").string();
    run_ok({{"tar", "-C", (root_ / "image").string(), "-cf", archive, "."}});
    call({"import", archive, "box:1"});
  }
  ~Podman() {
    try {
      call({"rm", "--all", "--force", "--time", "0"});
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    const bool ended = eventually(
        seconds(10), [this] { return std::ranges::all_of(monitors_, [](pid_t pid) { return is_gone(pid); }); });
    if (!ended) std::fprintf(stderr, "conmon: still running\n");
    ::umount2((root_ / "root/vfs").c_str(), MNT_DETACH);
  }
  Podman(const Podman&) = delete;
  Podman& operator=(const Podman&) = delete;

  // Its process.
  pid_t start(const std::string& name, const std::string& network, const std::string& cgroup) {
    call({"run", "--detach", "--name", name, "--pull", "never", "--network", network, "--cgroup-parent", cgroup,
          "box:1", "/bin/busybox", "sleep", "1000"});
    monitors_.push_back(std::stoi(call({"inspect", "--format", "{{.State.ConmonPid}}", name})));
    return std::stoi(call({"inspect", "--format", "{{.State.Pid}}", name}));
  }
  void remove(const std::string& name) { call({"rm", "--force", "--time", "0", name}); }
  [[nodiscard]] pid_t last_monitor() const { return monitors_.back(); }

 private:
  static bool is_gone(pid_t pid) { return ::kill(pid, 0) != 0 && errno == ESRCH; }

  std::string call(const std::vector<std::string>& words) {
    Command command{.argv = {"podman", "--root", (root_ / "root").string(), "--runroot", (root_ / "run").string(),
                             "--tmpdir", (root_ / "tmp").string(), "--storage-driver", "vfs"},
                    .env = {"CONTAINERS_CONF=" + (root_ / "containers.conf").string()}};
    command.argv.insert(command.argv.end(), words.begin(), words.end());
    return run_ok(command, seconds(60));
  }

  fs::path root_;
  std::vector<pid_t> monitors_;
};

TEST_CASE("pod finder: real containers") {
  Node node;
  const auto& web = node.net.add("web");
  node.add_object("web", kWeb, web);
  Podman podman(node.sandbox);
  const std::string cgroup = "/" + node.sandbox.cgroup().filename().string() + "/kubepods/burstable/pod" + kWeb;
  const auto pause = podman.start("pause", "ns:" + web.netns, cgroup);
  podman.start("app", "container:pause", cgroup);

  // conmon is in the pod's control group, and not in its network namespace.
  CHECK(read_file("/proc/" + std::to_string(podman.last_monitor()) + "/cgroup").contains("/pod" + kWeb));
  CHECK(inode_of("/proc/" + std::to_string(podman.last_monitor()) + "/ns/net") != inode_of(web.netns));
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
