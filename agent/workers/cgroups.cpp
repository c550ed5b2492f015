// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/cgroups.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "underpass/worker_protocol.h"

namespace underpass::workers {
namespace {

namespace fs = std::filesystem;

struct Limit {
  const char* controller;
  const char* v2_file;
  const char* v1_file;
  std::uint64_t value;
};
// Far above what a worker needs, and far below what would hurt a node.
constexpr std::array kLimits{
    Limit{"memory", "memory.max", "memory.limit_in_bytes", worker::kMemoryLimit},
    Limit{"pids", "pids.max", "pids.max", 128},
};

Result<void> make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail("create cgroup " + path + ": " + error.message());
  return {};
}

bool write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

std::set<std::string> words_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istream_iterator<std::string>(file), {}};
}

// Where the hierarchies of cgroup v1 are mounted, by controller.
std::map<std::string, std::string> v1_mounts() {
  std::map<std::string, std::string> out;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, point, type, options;
    if (!(fields >> device >> point >> type >> options) || type != "cgroup") continue;
    std::istringstream list(options);
    for (std::string option; std::getline(list, option, ',');)
      for (const auto& limit : kLimits)
        if (option == limit.controller) out.emplace(option, point);
  }
  return out;
}

// What of the path is below its cgroup2 mount.
fs::path below_mount(const fs::path& folder) {
  fs::path point = folder;
  struct stat here{}, above{};
  while (point.has_relative_path() && ::stat(point.c_str(), &here) == 0 &&
         ::stat(point.parent_path().c_str(), &above) == 0 && here.st_dev == above.st_dev)
    point = point.parent_path();
  return folder.lexically_relative(point);
}

}  // namespace

Result<Cgroups> Cgroups::make(const std::string& cgroup_root) {
  Cgroups out;
  out.top_ = cgroup_root + "/underpass";
  out.sockets_ = out.top_ + "/sockets";
  if (auto done = make_folder(out.sockets_); !done) return std::unexpected(done.error());
  for (const auto& [controller, mount] : v1_mounts())
    out.v1_[controller] = (fs::path(mount) / below_mount(cgroup_root) / "underpass").lexically_normal();
  // Only what the root gives away already: to change what it gives away would change others' cgroups.
  const auto available = words_of(out.top_ + "/cgroup.controllers");
  for (const auto& limit : kLimits)
    if (available.contains(limit.controller))
      write_file(out.top_ + "/cgroup.subtree_control", std::string("+") + limit.controller);
  return out;
}

Result<Cgroups::Place> Cgroups::add_worker(const std::string& name) const {
  const std::string folder = "worker-" + name;
  Place place{.cgroup = top_ + "/" + folder, .procs = {}, .unlimited = ""};
  if (auto done = make_folder(place.cgroup); !done) return std::unexpected(done.error());
  place.procs.push_back(place.cgroup + "/cgroup.procs");
  for (const auto& limit : kLimits) {
    if (write_file(place.cgroup + "/" + limit.v2_file, std::to_string(limit.value))) continue;
    if (const auto v1 = v1_.find(limit.controller); v1 != v1_.end()) {
      const std::string in_v1 = v1->second + "/" + folder;
      if (make_folder(in_v1) && write_file(in_v1 + "/" + limit.v1_file, std::to_string(limit.value))) {
        place.procs.push_back(in_v1 + "/cgroup.procs");
        continue;
      }
    }
    place.unlimited += (place.unlimited.empty() ? "" : ", ") + std::string(limit.controller);
  }
  return place;
}

void Cgroups::remove_worker(const std::string& name) const {
  ::rmdir((top_ + "/worker-" + name).c_str());
  for (const auto& [controller, folder] : v1_) ::rmdir((folder + "/worker-" + name).c_str());
}

void Cgroups::remove_all() const {
  ::rmdir(sockets_.c_str());
  ::rmdir(top_.c_str());
  for (const auto& [controller, folder] : v1_) {
    ::rmdir(folder.c_str());
    // The folders above ours that stand for those of the other hierarchy: none that somebody else uses can be removed.
    for (fs::path up = fs::path(folder).parent_path(); ::rmdir(up.c_str()) == 0; up = up.parent_path()) {
    }
  }
}

}  // namespace underpass::workers
