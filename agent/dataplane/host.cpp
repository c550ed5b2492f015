// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/host.h"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

namespace underpass::dataplane {
namespace {

// linux/capability.h clashes with libcap's in some set-ups; these numbers are ABI.
struct Capability {
  int bit;
  const char* name;
};
constexpr std::array kNeeded{
    Capability{12, "CAP_NET_ADMIN"},
    Capability{21, "CAP_SYS_ADMIN"},
    Capability{38, "CAP_PERFMON"},
    Capability{39, "CAP_BPF"},
};

bool is_filesystem(const std::string& path, long magic) {
  struct statfs info{};
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == magic;
}

}  // namespace

Result<std::string> find_cgroup_root() {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, path, type;
    if (fields >> device >> path >> type && type == "cgroup2") return path;
  }
  return fail(
      "no cgroup2 mount in /proc/mounts: mount one (mount -t cgroup2 none /sys/fs/cgroup/unified) or name a folder of "
      "it "
      "with --cgroup-root");
}

Result<void> check_cgroup_root(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return fail_errno("--cgroup-root " + path);
  if (!is_filesystem(path, CGROUP2_SUPER_MAGIC))
    return fail("--cgroup-root " + path + ": not a folder of a cgroup2 mount (see `grep cgroup2 /proc/mounts`)");
  return {};
}

Result<std::uint64_t> id_of_cgroup(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return fail_errno("cgroup " + path);
  if (!is_filesystem(path, CGROUP2_SUPER_MAGIC)) return fail("cgroup " + path + ": in no cgroup2 mount");
  return info.st_ino;
}

Result<void> prepare_bpffs(const std::string& path, bool in_container) {
  if (is_filesystem(path, BPF_FS_MAGIC)) return {};
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return fail_errno("--bpffs " + path);
  if (in_container)
    return fail("--bpffs " + path +
                ": not a bpffs: mount one on the node (mount -t bpf bpf /sys/fs/bpf), since pins "
                "outlive the agent's container");
  if (path != "/sys/fs/bpf")
    return fail("--bpffs " + path + ": not a bpffs: mount one there (mount -t bpf bpf " + path +
                ") or name a folder of one");
  if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
    return fail_errno("mount -t bpf bpf " + path);
  return {};
}

Result<void> check_capabilities() {
  std::ifstream status("/proc/self/status");
  std::uint64_t effective = 0;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("CapEff:")) effective = std::stoull(line.substr(7), nullptr, 16);
  std::string missing;
  for (const auto& capability : kNeeded)
    if (!(effective >> capability.bit & 1)) missing += (missing.empty() ? "" : ", ") + std::string(capability.name);
  if (missing.empty()) return {};
  return fail("missing " + missing + ": run as root, or give the container these capabilities");
}

std::uint64_t default_node_budget() {
  constexpr std::uint64_t kFallback = 64u << 20;
  std::ifstream file("/proc/sys/net/ipv4/tcp_mem");
  std::uint64_t low_pages = 0;
  if (!(file >> low_pages)) return kFallback;
  auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  auto ram = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * page;
  return std::min(low_pages * page / 4, ram / 64);
}

}  // namespace underpass::dataplane
