// SPDX-License-Identifier: Apache-2.0
// A table in which there is no room: a pinned map, filled to its last entry with keys that are nobody's.
#pragma once

#include <bpf/bpf.h>

#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/support/pinned.h"

namespace underpass::test {

template <typename Key, typename Value>
class FilledMap {
 public:
  // `make_key` of 1, 2, …. Throws where the map takes no more for another reason than that it is full.
  template <typename MakeKey>
  FilledMap(const Sandbox& sandbox, const std::string& name, MakeKey make_key)
      : map_(open_pinned_map(sandbox.pins() / name)) {
    const Value value{};
    for (std::uint64_t i = 1;; ++i) {
      const Key key = make_key(i);
      if (::bpf_map_update_elem(map_.get(), &key, &value, BPF_NOEXIST) != 0) break;
      keys_.push_back(key);
    }
    if (errno != E2BIG && errno != ENOSPC) throw std::runtime_error(name + " cannot be filled");
  }
  // Takes them away again.
  ~FilledMap() {
    for (const Key& key : keys_) ::bpf_map_delete_elem(map_.get(), &key);
  }
  FilledMap(const FilledMap&) = delete;
  FilledMap& operator=(const FilledMap&) = delete;

 private:
  UniqueFd map_;
  std::vector<Key> keys_;
};

}  // namespace underpass::test
