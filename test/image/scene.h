// SPDX-License-Identifier: Apache-2.0
// A node whose containers are podman's: a network namespace that is the node's own, a bridge in it, pods of `podman
// kube play`, and the image of this build.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "test/support/netns.h"
#include "test/support/podman.h"
#include "test/support/sandbox.h"

namespace underpass::test {

// What scripts/image made of the programs under test.
struct MadeImage {
  std::filesystem::path archive;
  std::filesystem::path bill;
  std::string words;  // what it printed
};
MadeImage make_image(const std::filesystem::path& archive);
// Made when the first asks, for all that do not change it.
const MadeImage& image();

// Whether containers can be run on this machine; where not, says so as a reason why the test case is skipped.
bool can_run_containers(const std::string& test_case);

// The name of the image once a Podman has loaded it.
std::string load_image(const Podman& podman);

struct PlayedPod {
  std::string name;
  std::string id;  // podman's
  pid_t pid = 0;   // of its first container
  std::vector<std::string> ips;
};

class PodmanNode {
 public:
  PodmanNode();
  ~PodmanNode();
  PodmanNode(const PodmanNode&) = delete;
  PodmanNode& operator=(const PodmanNode&) = delete;

  // A pod with one container of kBox, "app", that runs this.
  PlayedPod play(const std::string& name, const std::vector<std::string>& command);
  // In its container, and goes on there.
  void execute(const PlayedPod& pod, const std::vector<std::string>& command) const;

  Sandbox sandbox;
  Netns netns;  // the node's own
  Podman podman;

 private:
  std::vector<PlayedPod> pods_;
};

}  // namespace underpass::test
