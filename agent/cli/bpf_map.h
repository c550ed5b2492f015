// SPDX-License-Identifier: Apache-2.0
// A pinned BPF map of any type, opened for reading: its shape, its keys, its values as bytes, its BTF.
#pragma once

#include <bpf/btf.h>
#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::cli {

class BpfMap {
 public:
  using Buffer = std::vector<std::uint8_t>;
  struct Keys {
    std::vector<Buffer> keys;
    bool listable = true;  // false: this type of map cannot be listed at all
    bool complete = true;  // false: the map changed too much while it was read
  };

  // Absent: nothing is pinned there, or something that is no map.
  static Result<std::optional<BpfMap>> open(const std::string& path);

  [[nodiscard]] const bpf_map_info& info() const { return info_; }
  [[nodiscard]] std::string type_name() const;
  [[nodiscard]] bool is_per_cpu() const;

  // Each key once. A key may be gone by the time it is looked up.
  [[nodiscard]] Result<Keys> keys() const;

  // One value, or one per possible CPU. Absent: gone meanwhile, or not readable for this type of map (`errno_out`).
  [[nodiscard]] std::optional<std::vector<Buffer>> find(std::span<const std::uint8_t> key, int& errno_out) const;

  // The type information that the map carries; nullptr: none.
  struct FreeBtf {
    void operator()(btf* types) const { ::btf__free(types); }
  };
  using Btf = std::unique_ptr<btf, FreeBtf>;
  [[nodiscard]] Result<Btf> load_btf() const;

 private:
  BpfMap(UniqueFd fd, std::string path, const bpf_map_info& info)
      : fd_(std::move(fd)), path_(std::move(path)), info_(info) {}

  UniqueFd fd_;
  std::string path_;
  bpf_map_info info_;
};

}  // namespace underpass::cli
