// SPDX-License-Identifier: Apache-2.0
#include "test/support/sandbox.h"

#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>

#include "test/support/files.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

fs::path own_cgroup() {
  std::istringstream lines(read_file("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::")) return cgroup2_mount() / line.substr(4);
  }
  throw std::runtime_error("/proc/self/cgroup: no cgroup2 entry");
}

std::string next_name() {
  static int n = 0;
  return sandbox_prefix(::getpid()) + std::to_string(n++);
}

}  // namespace

Sandbox::Sandbox()
    : name_(next_name()),
      cgroup_before_(own_cgroup()),
      cgroup_(cgroup2_mount() / name_),
      root_(fs::temp_directory_path() / name_) {
  fs::create_directory(cgroup_);
  write_existing(cgroup_ / "cgroup.procs", "0");
  for (const fs::path& folder : {bpffs(), run_dir(), state_dir(), objects()}) fs::create_directories(folder);
  fs::permissions(root_, fs::perms::owner_all);
  if (::mount("bpf", bpffs().c_str(), "bpf", 0, "mode=700") != 0) throw_errno("mount bpffs on " + bpffs().string());
}

Sandbox::~Sandbox() {
  try {
    write_existing(cgroup_before_ / "cgroup.procs", "0");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "leaving %s: %s\n", cgroup_.c_str(), e.what());
  }
  if (::umount2(bpffs().c_str(), 0) != 0) ::umount2(bpffs().c_str(), MNT_DETACH);
  if (!remove_cgroup(cgroup_, false)) std::fprintf(stderr, "%s: not removed, still in use\n", cgroup_.c_str());
  std::error_code error;
  fs::remove_all(root_, error);
  if (error) std::fprintf(stderr, "%s: %s\n", root_.c_str(), error.message().c_str());
}

}  // namespace underpass::test
