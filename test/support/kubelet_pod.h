// SPDX-License-Identifier: Apache-2.0
// A pod as a kubelet and its runtime leave it on a node: control groups by the names of either driver, in the
// hierarchies of either version, a pause process and containers in them and in the pod's network namespace; for CRI-O
// a conmon beside each, outside of it. All below the sandbox's own control group, so that nobody else's is touched.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <list>
#include <string>
#include <vector>

#include "test/support/process.h"
#include "test/support/sandbox.h"

namespace underpass::test {

struct KubeletLayout {
  enum class Driver { kSystemd, kCgroupfs };
  enum class Version { kV1, kV2, kHybrid };  // which hierarchies the kubelet and the runtime use
  enum class Runtime { kContainerd, kCrio };

  Driver driver = Driver::kSystemd;
  Version version = Version::kV2;
  Runtime runtime = Runtime::kContainerd;
  std::string machine{};              // what the node itself is in: "docker/1234"; empty: the machine's root
  std::string root{};                 // the kubelet's --cgroup-root: "kubelet"; empty: none
  std::string quality = "burstable";  // or "besteffort", or empty for guaranteed

  [[nodiscard]] std::string to_string() const;
};

class KubeletPod {
 public:
  // Runs a pause process in the namespace at `netns`. The v1 hierarchies of `layout` must be mounted.
  KubeletPod(const Sandbox& sandbox, std::string uid, std::string netns, KubeletLayout layout = {});
  KubeletPod(const KubeletPod&) = delete;
  KubeletPod& operator=(const KubeletPod&) = delete;
  // Ends all processes, and removes the control groups and those above them that are empty then.
  ~KubeletPod();

  [[nodiscard]] const std::string& uid() const { return uid_; }
  [[nodiscard]] Process& pause() { return *pause_; }

  // A container: a process in a control group of its own.
  Process& add_container();
  // A process in this control group below the pod's ("" is the pod's), in this network namespace.
  Process& add_process(const std::string& below, const std::string& netns,
                       const std::vector<std::string>& argv = {"sleep", "infinity"});
  // The name of a new container's control group, as the runtime makes them.
  [[nodiscard]] std::string next_scope();
  // As after the death of the sandbox: everything ends, and a new pause process begins, there.
  void recreate(std::string netns);
  // Everything ends.
  void stop();

  // The pod's, in each hierarchy that is used.
  [[nodiscard]] const std::vector<std::filesystem::path>& cgroups() const { return cgroups_; }

 private:
  void start_sandbox();
  void remove_cgroups();

  const std::string uid_;
  std::string netns_;
  const KubeletLayout layout_;
  std::vector<std::filesystem::path> bases_;  // where the sandbox's control group ends, in each hierarchy
  std::vector<std::filesystem::path> cgroups_;
  std::list<Process> processes_;
  Process* pause_ = nullptr;
  int next_id_ = 0;
};

// Moves this process with all its threads to a control group of a pod, and back.
class InsidePod {
 public:
  InsidePod(const Sandbox& sandbox, const KubeletPod& pod, const std::string& below);
  ~InsidePod();
  InsidePod(const InsidePod&) = delete;
  InsidePod& operator=(const InsidePod&) = delete;

 private:
  std::vector<std::filesystem::path> before_;
};

}  // namespace underpass::test
