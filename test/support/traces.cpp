// SPDX-License-Identifier: Apache-2.0
#include "test/support/traces.h"

#include <net/if.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <functional>
#include <sstream>
#include <system_error>
#include <vector>

#include "test/support/eventually.h"
#include "test/support/files.h"
#include "test/support/netns.h"
#include "test/support/process.h"

namespace underpass::test {
namespace {

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

// The pid in "<kind><pid>-...", 0 if the name is none of ours.
pid_t pid_in(const std::string& name, const std::string& kind) {
  if (!name.starts_with(kind)) return 0;
  std::size_t end = kind.size();
  while (end < name.size() && std::isdigit(static_cast<unsigned char>(name[end]))) ++end;
  if (end == kind.size() || end - kind.size() > 9 || end == name.size() || name[end] != '-') return 0;
  return std::stoi(name.substr(kind.size(), end - kind.size()));
}

// One cgroup, its children first.
void remove_tree(const fs::path& cgroup) {
  for (const std::string& name : names_in(cgroup)) {
    if (fs::is_directory(cgroup / name)) remove_tree(cgroup / name);
  }
  ::rmdir(cgroup.c_str());
}

void remove_folder(const fs::path& folder) {
  for (const std::string& name : names_in(folder)) ::umount2((folder / name).c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

void remove_traces(const std::function<bool(pid_t)>& of, bool kill) {
  const fs::path cgroups = cgroup2_mount();
  for (const std::string& name : names_in(cgroups)) {
    if (of(pid_in(name, "up-test-"))) remove_cgroup(cgroups / name, kill);
  }
  for (const std::string& name : names_in(fs::temp_directory_path())) {
    if (of(pid_in(name, "up-test-"))) remove_folder(fs::temp_directory_path() / name);
  }
  for (const std::string& name : names_in(kNetnsFolder)) {
    if (!of(pid_in(name, "up-"))) continue;
    const fs::path path = fs::path(kNetnsFolder) / name;
    ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    ::unlink(path.c_str());
  }
  for (const std::string& name : names_in("/sys/class/net")) {
    if (of(pid_in(name, "up-"))) run({{"ip", "link", "delete", name}});
  }
}

}  // namespace

fs::path cgroup2_mount() {
  std::istringstream mounts(read_file("/proc/mounts"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, point, type;
    if (fields >> device >> point >> type && type == "cgroup2") return point;
  }
  throw std::runtime_error("/proc/mounts: no cgroup2 is mounted");
}

std::string name_prefix(pid_t pid) { return "up-" + std::to_string(pid) + "-"; }
std::string sandbox_prefix(pid_t pid) { return "up-test-" + std::to_string(pid) + "-"; }

bool remove_cgroup(const fs::path& cgroup, bool kill) {
  std::error_code missing;
  // An agent's workers outlive it, and its cgroup is theirs alone.
  for (const fs::path& folder : {kill ? cgroup : fs::path(), cgroup / "underpass"})
    if (!folder.empty() && fs::exists(folder / "cgroup.kill", missing)) write_existing(folder / "cgroup.kill", "1");
  const bool gone = eventually(seconds(5), [&] {
    remove_tree(cgroup);
    return !fs::exists(cgroup, missing);
  });
  // Where the controllers are those of cgroup v1, workers have cgroups of the same name there.
  for (const std::string& hierarchy : names_in("/sys/fs/cgroup")) {
    const fs::path twin = fs::path("/sys/fs/cgroup") / hierarchy / cgroup.filename();
    if (twin != cgroup && fs::exists(twin, missing)) remove_tree(twin);
  }
  return gone;
}

void remove_traces_of(pid_t pid) {
  remove_traces([pid](pid_t found) { return found == pid; }, true);
}

void sweep_leftovers() {
  remove_traces([](pid_t found) { return found > 0 && ::kill(found, 0) != 0 && errno == ESRCH; }, false);
}

}  // namespace underpass::test
