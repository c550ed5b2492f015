// SPDX-License-Identifier: Apache-2.0
// The pinned maps, read from the kernel: this works when the agent is dead. Other programs write the maps meanwhile, so
// an entry may come or go between two looks; every loop is bounded all the same. Maps may hold hundreds of thousands of
// entries, so values are decoded one at a time.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/cli/bpf_map.h"
#include "underpass/result.h"

namespace underpass::cli {

struct MapSummary {
  std::string name;                      // of the pin
  std::string type;                      // as bpftool names it: "hash", "percpu_array"
  std::optional<std::uint64_t> entries;  // absent: this type cannot be listed
  std::uint32_t capacity = 0;
  std::uint32_t key_size = 0;
  std::uint32_t value_size = 0;
};

boost::json::object to_json(const MapSummary& summary);

// Takes one {key, value}; a value that cannot be read is null. False: enough.
using TakeEntry = std::function<bool(boost::json::object entry)>;

class PinnedMap {
 public:
  // Reads the keys. Absent: no map of this name is pinned there.
  static Result<std::optional<PinnedMap>> open(const std::string& folder, const std::string& name);

  [[nodiscard]] const MapSummary& summary() const { return summary_; }
  // What a reader must know: why there are no entries, or no values. Empty: nothing.
  [[nodiscard]] const std::string& note() const { return note_; }

  // The entries that are still there, sorted by key.
  void for_each(const TakeEntry& take) const;

 private:
  using Key = std::pair<boost::json::value, BpfMap::Buffer>;

  PinnedMap(BpfMap map, BpfMap::Btf types, std::string name, BpfMap::Keys keys);

  BpfMap map_;
  BpfMap::Btf types_;  // may be nullptr
  MapSummary summary_;
  std::vector<Key> keys_;
  std::string note_;
};

// Names of the maps pinned in the folder, sorted; what else is pinned there (links, programs, folders) is left out. A
// folder that does not exist holds none.
Result<std::vector<std::string>> find_pinned_maps(const std::string& folder);

}  // namespace underpass::cli
