// SPDX-License-Identifier: Apache-2.0
// The ground one agent stands on in a test: a cgroup, a bpffs and folders of its own. While it lives the whole test
// process is inside the cgroup, because BPF's cgroup hooks follow the cgroup of the task that makes a socket.
#pragma once

#include <filesystem>
#include <string>

namespace underpass::test {

class Sandbox {
 public:
  Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;
  // Moves the test process back; unmounts and removes everything. Processes it is to remove with must have ended.
  ~Sandbox();

  [[nodiscard]] const std::filesystem::path& cgroup() const { return cgroup_; }
  [[nodiscard]] std::filesystem::path root() const { return root_; }           // a temporary folder
  [[nodiscard]] std::filesystem::path bpffs() const { return root_ / "bpf"; }  // a bpffs of its own
  [[nodiscard]] std::filesystem::path pins() const { return bpffs() / "underpass"; }
  [[nodiscard]] std::filesystem::path run_dir() const { return root_ / "run"; }
  [[nodiscard]] std::filesystem::path state_dir() const { return root_ / "state"; }
  [[nodiscard]] std::filesystem::path objects() const { return root_ / "objects"; }  // for --source dir:

 private:
  std::string name_;
  std::filesystem::path cgroup_before_;
  std::filesystem::path cgroup_;
  std::filesystem::path root_;
};

}  // namespace underpass::test
