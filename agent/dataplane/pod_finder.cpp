// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/pod_finder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "agent/dataplane/pod_cgroup.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

namespace fs = std::filesystem;

using Inode = std::pair<std::uint64_t, std::uint64_t>;  // with its device

// The lines of all hierarchies; what the kubelet wrote stands at their beginnings.
using Buffer = std::array<char, 16 * 1024>;

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Folder = std::unique_ptr<DIR, CloseDir>;

// Empty where the process is gone. The kernel gives such a file in one piece.
std::string_view read_at(int folder, const std::string& name, Buffer& buffer) {
  const UniqueFd file(::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC));
  const auto size = file ? ::read(file.get(), buffer.data(), buffer.size()) : -1;
  return size > 0 ? std::string_view(buffer.data(), static_cast<std::size_t>(size)) : std::string_view();
}

// Field 22 of /proc/PID/stat. The name of the program, field 2, may hold anything, parentheses too.
std::uint64_t start_time(std::string_view stat) {
  constexpr int kFieldsBetween = 19;  // after the name, up to the one before
  auto at = stat.rfind(") ");
  for (int i = 0; at != std::string_view::npos && i <= kFieldsBetween; ++i) at = stat.find(' ', at + 1);
  std::uint64_t out = 0;
  if (at != std::string_view::npos) std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), out);
  return out;
}

bool is_pid(const char* name) { return *name != 0 && std::strspn(name, "0123456789") == std::strlen(name); }

bool has_pod(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    if (is_pod(name)) return true;
    const bool is_class = name.contains("burstable") || name.contains("besteffort");
    if (is_class && entry.is_directory(error) && has_pod(entry.path())) return true;
  }
  return false;
}

// The smaller, the older. A tick is 10 ms, in which many may start.
std::pair<std::uint64_t, pid_t> age(const PodNetns& netns) { return {netns.started, netns.pid}; }

class Walk {
 public:
  Walk(const std::string& proc, const std::set<std::string>& uids) : proc_(proc), uids_(uids) {}

  std::map<std::string, std::vector<PodNetns>> run() {
    const Folder folder(::opendir(proc_.c_str()));
    if (!folder) return {};
    fd_ = ::dirfd(folder.get());
    own_ = read_at(fd_, "self/cgroup", buffer_);
    while (const auto* entry = ::readdir(folder.get()))
      if (is_pid(entry->d_name)) look_at(entry->d_name);
    std::map<std::string, std::vector<PodNetns>> out;
    for (const auto& [uid, namespaces] : found_) out.emplace(uid, in_order(namespaces));
    return out;
  }

 private:
  void look_at(const std::string& pid) {
    const auto process = find_pod(read_at(fd_, pid + "/cgroup", buffer_), own_);
    if (!process || process->helper || !uids_.contains(process->uid)) return;
    struct stat netns{};
    const std::string link = pid + "/ns/net";
    if (::fstatat(fd_, link.c_str(), &netns, 0) != 0) return;  // a zombie, or gone
    pid_t number = 0;
    std::from_chars(pid.data(), pid.data() + pid.size(), number);
    add(found_[process->uid][Inode(netns.st_dev, netns.st_ino)],
        {.path = proc_ + "/" + link,
         .pid = number,
         .device = netns.st_dev,
         .inode = netns.st_ino,
         .processes = 1,
         .started = start_time(read_at(fd_, pid + "/stat", buffer_))});
  }

  static void add(PodNetns& known, PodNetns one) {
    one.processes += known.processes;
    if (known.processes > 0 && age(known) <= age(one)) {
      known.processes = one.processes;
    } else {
      known = std::move(one);
    }
  }

  [[nodiscard]] std::vector<PodNetns> in_order(const std::map<Inode, PodNetns>& namespaces) const {
    struct stat file{};
    Inode host;
    if (::fstatat(fd_, "1/ns/net", &file, 0) == 0) host = {file.st_dev, file.st_ino};
    const auto rank = [&host](const PodNetns& netns) {
      return std::pair(Inode(netns.device, netns.inode) == host, age(netns));
    };
    std::vector<PodNetns> out;
    for (const auto& [inode, netns] : namespaces) out.push_back(netns);
    std::ranges::sort(out, [&rank](const auto& a, const auto& b) { return rank(a) < rank(b); });
    return out;
  }

  const std::string& proc_;
  const std::set<std::string>& uids_;
  int fd_ = -1;
  std::string own_;
  Buffer buffer_{};
  std::map<std::string, std::map<Inode, PodNetns>> found_;
};

}  // namespace

PodFinder::PodFinder(std::string proc) : proc_(std::move(proc)) {}

std::map<std::string, std::vector<PodNetns>> PodFinder::find(const std::set<std::string>& uids) const {
  if (uids.empty()) return {};
  return std::make_unique<Walk>(proc_, uids)->run();
}

std::optional<std::string> find_pods_cgroup(const std::string& cgroup_root) {
  // "/system.slice/docker-<id>.scope/kubelet.slice/kubelet-kubepods.slice"
  constexpr int kDeepest = 4;
  std::optional<std::string> empty_one;
  std::vector<fs::path> level{cgroup_root};
  for (int depth = 0; depth < kDeepest && !level.empty(); ++depth) {
    std::vector<fs::path> below;
    for (const auto& folder : level) {
      std::error_code error;
      for (const auto& entry : fs::directory_iterator(folder, error))
        if (entry.symlink_status(error).type() == fs::file_type::directory) below.push_back(entry.path());
    }
    std::ranges::sort(below);
    for (const auto& folder : below) {
      if (!is_pods_root(folder.filename().string())) continue;
      // One that another driver left stands there empty.
      if (has_pod(folder)) return folder;
      if (!empty_one) empty_one = folder;
    }
    if (empty_one) return empty_one;
    // What its own users may fill.
    std::erase_if(below, [](const auto& folder) { return folder.filename() == "user.slice"; });
    level = std::move(below);
  }
  return std::nullopt;
}

}  // namespace underpass::dataplane
