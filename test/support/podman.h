// SPDX-License-Identifier: Apache-2.0
// Real containers: podman and runc, with storage, settings and images of their own below the sandbox's folder. Nothing
// of the machine's podman is seen or changed.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "test/support/process.h"
#include "test/support/sandbox.h"

namespace underpass::test {

// An image of busybox alone, and one that waits, for the first container of a pod.
inline constexpr const char* kBox = "localhost/box:1";
inline constexpr const char* kPause = "localhost/pause:1";

class Podman {
 public:
  // `netns`: path of the network namespace in which podman itself runs, so that this is the containers' host; empty:
  // the caller's.
  explicit Podman(const Sandbox& sandbox, std::string netns = "");
  // Removes all containers, and waits for what watched them.
  ~Podman();
  Podman(const Podman&) = delete;
  Podman& operator=(const Podman&) = delete;

  [[nodiscard]] Finished run(const std::vector<std::string>& words, milliseconds deadline = seconds(60)) const;
  // Throws unless it ends with 0; what it wrote, without the end of the last line.
  std::string call(const std::vector<std::string>& words, milliseconds deadline = seconds(60)) const;

  // A container of kBox that sleeps; its process.
  pid_t start(const std::string& name, const std::string& network, const std::string& cgroup) const;
  void remove(const std::string& name) const;
  // `field` of what `podman inspect` says: ".State.Pid".
  [[nodiscard]] std::string inspect(const std::string& name, const std::string& field) const;
  [[nodiscard]] pid_t pid_of(const std::string& name) const;
  // Of the conmon beside it.
  [[nodiscard]] pid_t monitor_of(const std::string& name) const;

  // Networks of its own: files *.conflist.
  [[nodiscard]] std::filesystem::path networks() const { return root_ / "networks"; }

 private:
  std::filesystem::path root_;
  std::string netns_;
};

}  // namespace underpass::test
