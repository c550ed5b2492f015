// SPDX-License-Identifier: Apache-2.0
#include "test/support/kubelet_pod.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <utility>

#include "test/support/files.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

using Driver = KubeletLayout::Driver;
using Version = KubeletLayout::Version;
using Runtime = KubeletLayout::Runtime;

// Hierarchies of cgroup v1 in which a runtime puts everything.
std::vector<fs::path> v1_mounts() {
  std::vector<fs::path> out;
  std::istringstream mounts(read_file("/proc/mounts"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, point, type, options;
    fields >> device >> point >> type >> options;
    const auto used = [&](const char* name) { return ("," + options + ",").contains("," + std::string(name) + ","); };
    if (type == "cgroup" && (used("pids") || used("freezer") || used("name=systemd"))) out.emplace_back(point);
  }
  if (out.empty()) throw std::runtime_error("/proc/mounts: no hierarchy of cgroup v1 is mounted");
  return out;
}

std::vector<fs::path> mounts_of(Version version) {
  auto out = version == Version::kV2 ? std::vector<fs::path>() : v1_mounts();
  if (version != Version::kV1) out.push_back(cgroup2_mount());
  return out;
}

// "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1234.slice", or "kubelet/kubepods/pod1234".
std::string pod_folder(const KubeletLayout& layout, const std::string& uid) {
  std::string path = layout.machine.empty() ? "" : layout.machine + "/";
  std::string slice;
  for (std::string part : {layout.root, std::string("kubepods"), layout.quality, "pod" + uid}) {
    if (part.empty()) continue;
    if (layout.driver == Driver::kCgroupfs) {
      path += part + "/";
      continue;
    }
    std::ranges::replace(part, '-', '_');
    slice += (slice.empty() ? "" : "-") + part;
    path += slice + ".slice/";
  }
  path.pop_back();
  return path;
}

// Below a base that others use too, up to it.
void remove_empty(const fs::path& folder, const fs::path& base) {
  for (fs::path at = folder; at != base.parent_path() && ::rmdir(at.c_str()) == 0;) at = at.parent_path();
}

void remove_tree(const fs::path& cgroup) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(cgroup, ignored))
    if (entry.is_directory(ignored)) remove_tree(entry.path());
  ::rmdir(cgroup.c_str());
}

void move_to(const fs::path& cgroup, pid_t pid) {
  fs::create_directories(cgroup);
  write_existing(cgroup / "cgroup.procs", std::to_string(pid));
}

}  // namespace

std::string KubeletLayout::to_string() const {
  const char* versions[] = {"v1", "v2", "hybrid"};
  return std::string(driver == Driver::kSystemd ? "systemd" : "cgroupfs") + " " + versions[static_cast<int>(version)] +
         " " + (runtime == Runtime::kCrio ? "CRI-O" : "containerd") + " /" + machine + "/" + root + "/" + quality;
}

KubeletPod::KubeletPod(const Sandbox& sandbox, std::string uid, std::string netns, KubeletLayout layout)
    : uid_(std::move(uid)), netns_(std::move(netns)), layout_(std::move(layout)) {
  for (const auto& mount : mounts_of(layout_.version)) {
    bases_.push_back(mount / sandbox.cgroup().filename());
    cgroups_.push_back(bases_.back() / pod_folder(layout_, uid_));
  }
  try {
    start_sandbox();
  } catch (...) {
    stop();
    remove_cgroups();
    throw;
  }
}

KubeletPod::~KubeletPod() {
  stop();
  remove_cgroups();
}

void KubeletPod::remove_cgroups() {
  const bool gone = eventually(seconds(5), [this] {
    for (const auto& cgroup : cgroups_) remove_tree(cgroup);
    return std::ranges::none_of(cgroups_, [](const auto& cgroup) { return fs::exists(cgroup); });
  });
  for (std::size_t i = 0; i < cgroups_.size(); ++i) {
    if (!gone) std::fprintf(stderr, "%s: not removed, still in use\n", cgroups_[i].c_str());
    remove_empty(cgroups_[i].parent_path(), bases_[i]);
  }
}

std::string KubeletPod::next_scope() {
  const std::string id =
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab" + std::to_string(1000 + next_id_++);
  if (layout_.runtime == Runtime::kCrio) return "crio-" + id + (layout_.driver == Driver::kSystemd ? ".scope" : "");
  return layout_.driver == Driver::kSystemd ? "cri-containerd-" + id + ".scope" : id;
}

Process& KubeletPod::add_process(const std::string& below, const std::string& netns,
                                 const std::vector<std::string>& argv) {
  auto& process = processes_.emplace_back(Command{.argv = argv, .netns = netns});
  for (const auto& cgroup : cgroups_) move_to(below.empty() ? cgroup : cgroup / below, process.pid());
  return process;
}

void KubeletPod::start_sandbox() { pause_ = &add_container(); }

Process& KubeletPod::add_container() {
  const std::string scope = next_scope();
  if (layout_.runtime == Runtime::kCrio) add_process("crio-conmon-" + scope.substr(std::string("crio-").size()), "");
  return add_process(scope, netns_);
}

void KubeletPod::recreate(std::string netns) {
  stop();
  netns_ = std::move(netns);
  start_sandbox();
}

void KubeletPod::stop() {
  pause_ = nullptr;
  processes_.clear();
}

InsidePod::InsidePod(const Sandbox& sandbox, const KubeletPod& pod, const std::string& below) {
  for (const auto& cgroup : pod.cgroups()) {
    const bool unified = std::ranges::mismatch(cgroup, sandbox.cgroup()).in2 == sandbox.cgroup().end();
    fs::path mount = cgroup;
    while (mount.filename() != sandbox.cgroup().filename()) mount = mount.parent_path();
    before_.push_back(unified ? sandbox.cgroup() : mount.parent_path());
    move_to(cgroup / below, ::getpid());
  }
}

InsidePod::~InsidePod() {
  for (const auto& cgroup : before_) move_to(cgroup, ::getpid());
}

}  // namespace underpass::test
