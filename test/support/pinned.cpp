// SPDX-License-Identifier: Apache-2.0
#include "test/support/pinned.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::test {

UniqueFd open_pinned_map(const fs::path& path) {
  UniqueFd fd(::bpf_obj_get(path.c_str()));
  if (!fd) throw_errno("open pinned map " + path.string());
  return fd;
}

namespace {

template <typename Value, typename Key>
std::optional<Value> lookup(const fs::path& path, const Key& key) {
  const UniqueFd map = open_pinned_map(path);
  Value value{};
  if (::bpf_map_lookup_elem(map.get(), &key, &value) != 0) {
    if (errno == ENOENT) return std::nullopt;
    throw_errno("look up in " + path.string());
  }
  return value;
}

std::optional<bpf_map_info> map_info(int fd) {
  bpf_map_info info{};
  __u32 size = sizeof info;
  if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return std::nullopt;
  return info;
}

std::set<std::uint32_t> maps_of_program(int fd) {
  std::array<__u32, 64> ids{};
  bpf_prog_info info{};
  info.nr_map_ids = ids.size();
  info.map_ids = reinterpret_cast<std::uintptr_t>(ids.data());
  __u32 size = sizeof info;
  if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return {};
  return {ids.begin(), ids.begin() + std::min<std::size_t>(info.nr_map_ids, ids.size())};
}

}  // namespace

bool Pinned::any() const {
  std::error_code missing;
  return fs::exists(folder_, missing) && !fs::is_empty(folder_, missing);
}

up_stats Pinned::stats() const {
  const UniqueFd map = open_pinned_map(folder_ / "up_stats");
  std::vector<up_stats> of_cpu(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
  const __u32 key = 0;
  if (::bpf_map_lookup_elem(map.get(), &key, of_cpu.data()) != 0) throw_errno("look up in up_stats");
  static constexpr std::size_t kWords = sizeof(up_stats) / sizeof(std::uint64_t);
  std::array<std::uint64_t, kWords> sum{};
  for (const up_stats& one : of_cpu) {
    std::array<std::uint64_t, kWords> words;
    std::memcpy(words.data(), &one, sizeof one);
    for (std::size_t i = 0; i < kWords; ++i) sum[i] += words[i];
  }
  up_stats out;
  std::memcpy(&out, sum.data(), sizeof out);
  return out;
}

up_config Pinned::config() const { return lookup<up_config>(folder_ / "up_config", __u32{0}).value(); }

void Pinned::set_config(const up_config& config) const {
  const UniqueFd map = open_pinned_map(folder_ / "up_config");
  const __u32 key = 0;
  if (::bpf_map_update_elem(map.get(), &key, &config, BPF_ANY) != 0) throw_errno("write up_config");
}

std::optional<up_conn> Pinned::connection(int fd) const { return connection_of(socket_cookie(fd)); }

std::optional<up_conn> Pinned::connection_of(std::uint64_t id) const {
  return lookup<up_conn>(folder_ / "up_conns", id);
}

std::optional<up_pod> Pinned::pod(std::uint64_t netns_cookie) const {
  return lookup<up_pod>(folder_ / "up_pods", netns_cookie);
}

std::optional<up_worker> Pinned::worker(std::uint64_t netns_cookie) const {
  return lookup<up_worker>(folder_ / "up_workers", netns_cookie);
}

std::uint32_t Pinned::clauses_of(std::uint32_t set) const {
  const std::optional<up_policy> policy = lookup<up_policy>(folder_ / "up_policies", set);
  return policy ? policy->clauses : 0;
}

std::uint64_t Pinned::budget_used(std::uint64_t netns_cookie) const {
  const std::optional<up_budget> budget = lookup<up_budget>(folder_ / "up_budget", netns_cookie);
  return budget ? budget->used : 0;
}

std::size_t Pinned::entries(const std::string& name) const {
  const UniqueFd map = open_pinned_map(folder_ / name);
  std::vector<std::byte> key(map_info(map.get()).value().key_size);
  std::size_t n = 0;
  for (const void* previous = nullptr; ::bpf_map_get_next_key(map.get(), previous, key.data()) == 0; ++n) {
    previous = key.data();
  }
  return n;
}

std::set<std::uint32_t> Pinned::map_ids() const {
  std::set<std::uint32_t> ids;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder_)) {
    const UniqueFd fd(::bpf_obj_get(entry.path().c_str()));
    if (!fd) continue;
    // Links and programs answer with their own kind of info; /proc tells which is a map.
    const std::string about = read_file("/proc/self/fdinfo/" + std::to_string(fd.get()));
    if (about.find("map_type:") == std::string::npos) continue;
    if (const auto info = map_info(fd.get())) ids.insert(info->id);
  }
  return ids;
}

std::set<std::uint32_t> Pinned::program_ids() const {
  const std::set<std::uint32_t> maps = map_ids();
  std::set<std::uint32_t> programs;
  for (__u32 id = 0; ::bpf_prog_get_next_id(id, &id) == 0;) {
    const UniqueFd program(::bpf_prog_get_fd_by_id(id));
    if (!program) continue;
    if (std::ranges::any_of(maps_of_program(program.get()), [&](auto map) { return maps.contains(map); })) {
      programs.insert(id);
    }
  }
  return programs;
}

bool any_program_alive(const std::set<std::uint32_t>& ids) {
  return std::ranges::any_of(ids,
                             [](std::uint32_t id) { return static_cast<bool>(UniqueFd(::bpf_prog_get_fd_by_id(id))); });
}

std::set<std::uint32_t> programs_at(const fs::path& cgroup) {
  static constexpr std::array kTypes{BPF_CGROUP_INET_INGRESS,
                                     BPF_CGROUP_INET_EGRESS,
                                     BPF_CGROUP_INET_SOCK_CREATE,
                                     BPF_CGROUP_SOCK_OPS,
                                     BPF_CGROUP_DEVICE,
                                     BPF_CGROUP_INET4_BIND,
                                     BPF_CGROUP_INET6_BIND,
                                     BPF_CGROUP_INET4_CONNECT,
                                     BPF_CGROUP_INET6_CONNECT,
                                     BPF_CGROUP_INET4_POST_BIND,
                                     BPF_CGROUP_INET6_POST_BIND,
                                     BPF_CGROUP_UDP4_SENDMSG,
                                     BPF_CGROUP_UDP6_SENDMSG,
                                     BPF_CGROUP_SYSCTL,
                                     BPF_CGROUP_UDP4_RECVMSG,
                                     BPF_CGROUP_UDP6_RECVMSG,
                                     BPF_CGROUP_GETSOCKOPT,
                                     BPF_CGROUP_SETSOCKOPT,
                                     BPF_CGROUP_INET4_GETPEERNAME,
                                     BPF_CGROUP_INET6_GETPEERNAME,
                                     BPF_CGROUP_INET4_GETSOCKNAME,
                                     BPF_CGROUP_INET6_GETSOCKNAME,
                                     BPF_CGROUP_INET_SOCK_RELEASE};
  const UniqueFd fd = open_file(cgroup, O_RDONLY | O_DIRECTORY);
  std::set<std::uint32_t> out;
  for (const bpf_attach_type type : kTypes) {
    std::array<__u32, 64> ids{};
    __u32 count = ids.size();
    if (::bpf_prog_query(fd.get(), type, 0, nullptr, ids.data(), &count) == 0)
      out.insert(ids.begin(), ids.begin() + count);
  }
  return out;
}

}  // namespace underpass::test
