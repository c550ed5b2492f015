// SPDX-License-Identifier: Apache-2.0
#include "test/image/scene.h"

#include <sys/mount.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <exception>
#include <iostream>

#include "test/support/ctl.h"
#include "test/support/files.h"
#include "test/support/temp_folder.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace json = boost::json;
namespace {

constexpr const char* kNetwork = "up";
constexpr const char* kCniState = "/var/lib/cni";

void bind(const fs::path& from, const fs::path& to) {
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) throw_errno("bind " + to.string());
}

// Podman puts pods of `kube play` below the root of the cgroup2 mount, whatever one says, and programs that are
// attached to the sandbox's cgroup must see them: while this lives, that cgroup is the root.
class Below {
 public:
  explicit Below(const Sandbox& sandbox) : mount_(cgroup2_mount()) { bind(sandbox.cgroup(), mount_); }
  ~Below() { ::umount2(mount_.c_str(), MNT_DETACH); }
  Below(const Below&) = delete;
  Below& operator=(const Below&) = delete;

 private:
  fs::path mount_;
};

// Why not; empty: they can.
std::string problem_of_containers() {
  try {
    const Sandbox sandbox;
    const Podman podman(sandbox);
    podman.call({"run", "--rm", "--network", "none", "--cgroup-parent", "/" + sandbox.cgroup().filename().string(),
                 kBox, "/bin/busybox", "true"});
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

}  // namespace

MadeImage make_image(const fs::path& archive) {
  MadeImage made{.archive = archive, .bill = fs::path(archive).replace_extension(".spdx.json"), .words = ""};
  made.words = run_ok({.argv = {std::string(UNDERPASS_SOURCE_DIR) + "/scripts/image", "--bin",
                                built_program("").string(), "--out", archive.string()}},
                      seconds(240));
  return made;
}

const MadeImage& image() {
  static const TempFolder folder("image");
  static const MadeImage made = make_image(folder / "underpass.tar");
  return made;
}

bool can_run_containers(const std::string& test_case) {
  static const std::string problem = problem_of_containers();
  if (!problem.empty()) std::cout << "SKIPPED: " << test_case << ": no containers here: " << problem << '\n';
  return problem.empty();
}

std::string load_image(const Podman& podman) {
  podman.call({"load", "--quiet", "--input", image().archive.string()});
  return "localhost/underpass:" UNDERPASS_VERSION;
}

PodmanNode::PodmanNode() : netns(name_prefix(::getpid()) + "node"), podman(sandbox, netns.path()) {
  // What CNI's library keeps is kept for this test alone.
  if (fs::exists(kCniState) && ::mount("tmpfs", kCniState, "tmpfs", 0, nullptr) != 0) throw_errno("mount tmpfs");
  const json::object bridge{{"type", "bridge"},
                            {"bridge", "pods"},
                            {"isGateway", true},
                            {"ipam",
                             {{"type", "host-local"},
                              {"dataDir", (sandbox.root() / "addresses").string()},
                              {"ranges", json::array{json::array{json::object{{"subnet", "10.78.0.0/24"}}},
                                                     json::array{json::object{{"subnet", "fd00:78::/64"}}}}}}}};
  write_atomically(
      podman.networks() / "up.conflist",
      json::serialize(json::object{{"cniVersion", "0.4.0"}, {"name", kNetwork}, {"plugins", json::array{bridge}}}));
}

PodmanNode::~PodmanNode() {
  try {
    const Below below(sandbox);
    podman.call({"pod", "rm", "--all", "--force", "--time", "0"});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  // Where the controllers are those of cgroup v1, what it made there is not the sandbox's.
  std::error_code ignored;
  for (const auto& hierarchy : fs::directory_iterator("/sys/fs/cgroup", ignored)) {
    for (const auto& pod : pods_) ::rmdir((hierarchy.path() / "libpod_parent" / pod.id).c_str());
    ::rmdir((hierarchy.path() / "libpod_parent").c_str());  // unless others have pods
  }
  ::umount2(kCniState, MNT_DETACH);
}

PlayedPod PodmanNode::play(const std::string& name, const std::vector<std::string>& command) {
  const json::object pod{{"apiVersion", "v1"},
                         {"kind", "Pod"},
                         {"metadata", {{"name", name}}},
                         {"spec",
                          {{"containers", json::array{json::object{{"name", "app"},
                                                                   {"image", kBox},
                                                                   {"imagePullPolicy", "Never"},
                                                                   {"command", json::value_from(command)}}}}}}};
  const auto file = sandbox.root() / (name + ".yaml");
  write_atomically(file, json::serialize(pod));
  const Below below(sandbox);
  podman.call({"kube", "play", "--network", kNetwork, file.string()});
  auto& made = pods_.emplace_back(
      PlayedPod{.name = name, .id = podman.call({"pod", "inspect", "--format", "{{.ID}}", name}), .pid = 0, .ips = {}});
  const auto first = podman.call({"pod", "inspect", "--format", "{{.InfraContainerID}}", name});
  const auto network = json::parse(podman.inspect(first, "json .NetworkSettings.Networks")).at(kNetwork);
  made.pid = podman.pid_of(first);
  made.ips = {text_of(network.at("IPAddress")), text_of(network.at("GlobalIPv6Address"))};
  return made;
}

void PodmanNode::execute(const PlayedPod& pod, const std::vector<std::string>& command) const {
  const Below below(sandbox);
  std::vector<std::string> words{"exec", "--detach", pod.name + "-app"};
  words.insert(words.end(), command.begin(), command.end());
  podman.call(words);
}

}  // namespace underpass::test
