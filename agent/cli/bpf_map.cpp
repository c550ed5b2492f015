// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/bpf_map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

namespace underpass::cli {
namespace {

// ENOTSUPP, which the kernel uses inside and lets out of map operations that a type does not have.
constexpr int kKernelNotSupported = 524;

// What /proc calls the thing behind a BPF descriptor: "bpf-map", "bpf-prog", "bpf_link".
std::string kind_of(int fd) {
  constexpr std::string_view kPrefix = "anon_inode:";
  std::array<char, 64> target{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  const std::string_view text(target.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  return std::string(text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : text);
}

}  // namespace

Result<std::optional<BpfMap>> BpfMap::open(const std::string& path) {
  std::error_code not_there;
  if (!std::filesystem::is_regular_file(path, not_there)) return std::nullopt;
  UniqueFd fd(::bpf_obj_get(path.c_str()));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    if (errno == EPERM || errno == EACCES) return fail_errno("open pinned map " + path + " (are you root?)");
    return fail_errno("open pinned map " + path);
  }
  if (kind_of(fd.get()) != "bpf-map") return std::nullopt;
  bpf_map_info info{};
  __u32 size = sizeof(info);
  if (::bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) return fail_errno("ask for the shape of map " + path);
  return BpfMap(std::move(fd), path, info);
}

std::string BpfMap::type_name() const {
  const char* name = ::libbpf_bpf_map_type_str(static_cast<bpf_map_type>(info_.type));
  return name != nullptr ? name : "type " + std::to_string(info_.type);
}

bool BpfMap::is_per_cpu() const {
  return info_.type == BPF_MAP_TYPE_PERCPU_HASH || info_.type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         info_.type == BPF_MAP_TYPE_LRU_PERCPU_HASH || info_.type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

Result<BpfMap::Keys> BpfMap::keys() const {
  Keys out;
  if (info_.key_size == 0) {  // queues, stacks, ring buffers
    out.listable = false;
    return out;
  }
  // When the key we hold is deleted, the kernel starts again from the first: known ones are passed over, and a map that
  // keeps changing ends the walk at the bound.
  std::set<Buffer> seen;
  const std::uint64_t most_steps = 4UL * info_.max_entries + 1024;
  Buffer key(info_.key_size);
  const void* previous = nullptr;
  Buffer next(info_.key_size);
  for (std::uint64_t step = 0; step < most_steps; ++step) {
    if (::bpf_map_get_next_key(fd_.get(), previous, next.data()) != 0) {
      if (errno == ENOENT) return out;
      const bool unsupported = errno == kKernelNotSupported || errno == EOPNOTSUPP || errno == EINVAL;
      if (!unsupported || previous != nullptr) return fail_errno("list keys of map " + path_);
      out.listable = false;
      return out;
    }
    std::swap(key, next);
    previous = key.data();
    if (seen.insert(key).second) out.keys.push_back(key);
  }
  out.complete = false;
  return out;
}

std::optional<std::vector<BpfMap::Buffer>> BpfMap::find(std::span<const std::uint8_t> key, int& errno_out) const {
  errno_out = 0;
  const int cpus = is_per_cpu() ? ::libbpf_num_possible_cpus() : 1;
  if (cpus <= 0) {
    errno_out = -cpus;
    return std::nullopt;
  }
  // The kernel writes each CPU's value at a multiple of 8 bytes.
  const std::size_t stride = (info_.value_size + 7UL) / 8 * 8;
  Buffer raw(stride * static_cast<std::size_t>(cpus));
  if (::bpf_map_lookup_elem(fd_.get(), key.data(), raw.data()) != 0) {
    errno_out = errno;
    return std::nullopt;
  }
  std::vector<Buffer> values;
  for (std::size_t at = 0; at < raw.size(); at += stride) {
    const auto begin = raw.begin() + static_cast<std::ptrdiff_t>(at);
    values.emplace_back(begin, begin + info_.value_size);
  }
  return values;
}

Result<BpfMap::Btf> BpfMap::load_btf() const {
  if (info_.btf_id == 0) return Btf();
  Btf types(::btf__load_from_kernel_by_id(info_.btf_id));
  if (!types) return fail_errno("load the type information of map " + path_);
  return types;
}

}  // namespace underpass::cli
