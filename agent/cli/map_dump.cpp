// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/map_dump.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "agent/cli/bpf_map.h"
#include "agent/cli/btf_json.h"
#include "underpass/abi.h"
#include "underpass/abi_names.h"

namespace underpass::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

std::vector<std::string> why_names() {
  std::vector<std::string> names;
  for (int why = 0; why < UP_WHY_COUNT; ++why) names.emplace_back(name_of(static_cast<up_why>(why)));
  return names;
}

// The arrays of abi.h that are indexed by an enum or by UP_CLIENT and UP_SERVER.
const std::vector<ArrayNames>& array_names() {
  static const std::vector<ArrayNames> kNames{
      {.type = "up_stats", .member = "connections", .names = {"direct", "short-circuit", "proxied"}},
      {.type = "up_stats", .member = "fallbacks", .names = why_names()},
      {.type = "up_stats", .member = "resets", .names = why_names()},
      {.type = "up_conn", .member = "end", .names = {"client", "server"}},
      {.type = "up_conn", .member = "dir", .names = {"client", "server"}},
  };
  return kNames;
}

const std::vector<NumberNames>& number_names() {
  static const std::vector<NumberNames> kNames{
      {.type = "", .member = "protocol", .names = {{6, "tcp"}, {17, "udp"}}},
      {.type = "up_service",
       .member = "flags",
       .flags = true,
       .names = {{UP_SERVICE_MAGLEV, "maglev"}, {UP_SERVICE_EXTERNAL, "external"}}},
  };
  return kNames;
}

std::string not_listable_note(const BpfMap& map) {
  switch (map.info().type) {
    case BPF_MAP_TYPE_SK_STORAGE:
    case BPF_MAP_TYPE_INODE_STORAGE:
    case BPF_MAP_TYPE_TASK_STORAGE:
      return "its values live in the objects they belong to and are freed with them: the kernel cannot list them";
    case BPF_MAP_TYPE_RINGBUF:
    case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
      return "a stream of events, gone once read: there is nothing to list";
    default:
      return "the kernel cannot list maps of type " + map.type_name();
  }
}

bool is_socket_map(const BpfMap& map) {
  return map.info().type == BPF_MAP_TYPE_SOCKHASH || map.info().type == BPF_MAP_TYPE_SOCKMAP;
}

// Sums counters of several CPUs in place of the first. All are made of 64-bit numbers only.
void add_counters(std::vector<std::uint8_t>& sum, const std::vector<std::uint8_t>& more) {
  for (std::size_t at = 0; at + sizeof(std::uint64_t) <= sum.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, sum.data() + at, sizeof(a));
    std::memcpy(&b, more.data() + at, sizeof(b));
    a += b;
    std::memcpy(sum.data() + at, &a, sizeof(a));
  }
}

class Dumper {
 public:
  Dumper(const BpfMap& map, const btf* types)
      : map_(map), types_(types), decoder_(types, array_names(), number_names()) {}

  [[nodiscard]] json::value key(Bytes bytes) const {
    if (types_ != nullptr && map_.info().btf_key_type_id != 0)
      return decoder_.decode_key(map_.info().btf_key_type_id, bytes);
    if (is_socket_map(map_) && bytes.size() == sizeof(up_listener_key)) return listener_key(bytes);
    return untyped(bytes);
  }

  [[nodiscard]] json::value value(std::vector<BpfMap::Buffer> values) const {
    if (values.size() > 1 && types_ != nullptr && decoder_.is_counters(map_.info().btf_value_type_id)) {
      for (std::size_t cpu = 1; cpu < values.size(); ++cpu) add_counters(values[0], values[cpu]);
      values.resize(1);
    }
    if (!map_.is_per_cpu() || values.size() == 1) return one_value(values[0]);
    json::array by_cpu;
    for (const BpfMap::Buffer& value : values) by_cpu.emplace_back(one_value(value));
    return by_cpu;
  }

 private:
  [[nodiscard]] json::value one_value(Bytes bytes) const {
    if (types_ != nullptr && map_.info().btf_value_type_id != 0)
      return decoder_.decode(map_.info().btf_value_type_id, bytes);
    return untyped(bytes);
  }

  // The kernel keeps no types for maps of sockets and of maps: 8 bytes there are a cookie, 4 an index or an id.
  [[nodiscard]] static json::value untyped(Bytes bytes) {
    if (bytes.size() == sizeof(std::uint64_t)) {
      std::uint64_t number = 0;
      std::memcpy(&number, bytes.data(), sizeof(number));
      return json::string(std::to_string(number));
    }
    if (bytes.size() == sizeof(std::uint32_t)) {
      std::uint32_t number = 0;
      std::memcpy(&number, bytes.data(), sizeof(number));
      return number;
    }
    return json::string(to_hex(bytes));
  }

  // Of up_listeners, the only map of sockets whose key is a struct.
  [[nodiscard]] static json::value listener_key(Bytes bytes) {
    up_listener_key key{};
    std::memcpy(&key, bytes.data(), sizeof(key));
    return json::object{{"netns_cookie", std::to_string(key.netns_cookie)},
                        {"direction", underpass::name_of(static_cast<up_direction>(key.direction))},
                        {"v6", key.v6}};
  }

  const BpfMap& map_;
  const btf* types_;
  BtfJson decoder_;
};

// Numbers by size, texts by letters: shorter comes first, then the alphabet.
void sort_keys(std::vector<std::pair<json::value, BpfMap::Buffer>>& keys) {
  std::vector<std::pair<std::string, std::size_t>> order;
  order.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) order.emplace_back(json::serialize(keys[i].first), i);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return a.first.size() != b.first.size() ? a.first.size() < b.first.size() : a.first < b.first;
  });
  std::vector<std::pair<json::value, BpfMap::Buffer>> sorted;
  sorted.reserve(keys.size());
  for (const auto& [text, index] : order) sorted.push_back(std::move(keys[index]));
  keys = std::move(sorted);
}

MapSummary summary_of(const BpfMap& map, std::string name, const BpfMap::Keys& keys) {
  return {.name = std::move(name),
          .type = map.type_name(),
          .entries = keys.listable ? std::optional<std::uint64_t>(keys.keys.size()) : std::nullopt,
          .capacity = map.info().max_entries,
          .key_size = map.info().key_size,
          .value_size = map.info().value_size};
}

// Why no value can be read, where that is so: the first key that is still there tells.
std::string unreadable_note(const BpfMap& map, const std::vector<BpfMap::Buffer>& keys) {
  for (const BpfMap::Buffer& key : keys) {
    int error = 0;
    if (map.find(key, error)) return "";
    if (error != ENOENT) return std::string("values cannot be read: ") + std::strerror(error);
  }
  return "";
}

std::string note_of(const BpfMap& map, const BpfMap::Keys& keys) {
  if (!keys.listable) return not_listable_note(map);
  if (!keys.complete) return "it changed faster than it could be read: some entries may be missing";
  if (std::string note = unreadable_note(map, keys.keys); !note.empty()) return note;
  return is_socket_map(map) ? "a map of sockets: a value is the socket's cookie" : "";
}

// A name, never a path that leads elsewhere.
bool is_name(const std::string& name) { return !name.empty() && name != "." && name != ".." && !name.contains('/'); }

}  // namespace

PinnedMap::PinnedMap(BpfMap map, BpfMap::Btf types, std::string name, BpfMap::Keys keys)
    : map_(std::move(map)),
      types_(std::move(types)),
      summary_(summary_of(map_, std::move(name), keys)),
      note_(note_of(map_, keys)) {
  const Dumper dumper(map_, types_.get());
  keys_.reserve(keys.keys.size());
  for (BpfMap::Buffer& key : keys.keys) {
    json::value decoded = dumper.key(key);
    keys_.emplace_back(std::move(decoded), std::move(key));
  }
  sort_keys(keys_);
}

Result<std::optional<PinnedMap>> PinnedMap::open(const std::string& folder, const std::string& name) {
  if (!is_name(name)) return std::nullopt;
  Result<std::optional<BpfMap>> map = BpfMap::open(folder + "/" + name);
  if (!map) return std::unexpected(map.error());
  if (!*map) return std::nullopt;
  Result<BpfMap::Btf> types = (*map)->load_btf();
  if (!types) return std::unexpected(types.error());
  Result<BpfMap::Keys> keys = (*map)->keys();
  if (!keys) return std::unexpected(keys.error());
  return PinnedMap(std::move(**map), std::move(*types), name, std::move(*keys));
}

void PinnedMap::for_each(const TakeEntry& take) const {
  const Dumper dumper(map_, types_.get());
  for (const auto& [decoded, key] : keys_) {
    int error = 0;
    std::optional<std::vector<BpfMap::Buffer>> values = map_.find(key, error);
    if (!values && error == ENOENT) continue;  // gone meanwhile
    json::object entry;
    entry.reserve(2);
    entry["key"] = decoded;
    entry["value"] = values ? dumper.value(std::move(*values)) : json::value(nullptr);
    if (!take(std::move(entry))) return;
  }
}

Result<std::vector<std::string>> find_pinned_maps(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error == std::errc::no_such_file_or_directory) return names;
  if (error) return fail("read folder " + folder + ": " + error.message());
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    Result<std::optional<BpfMap>> map = BpfMap::open(entries->path().string());
    if (!map) return std::unexpected(map.error());
    if (*map) names.push_back(entries->path().filename().string());
  }
  if (error) return fail("read folder " + folder + ": " + error.message());
  std::ranges::sort(names);
  return names;
}

json::object to_json(const MapSummary& summary) {
  return {{"name", summary.name},
          {"type", summary.type},
          {"entries", summary.entries ? json::value(*summary.entries) : json::value(nullptr)},
          {"capacity", summary.capacity},
          {"keySize", summary.key_size},
          {"valueSize", summary.value_size}};
}

}  // namespace underpass::cli
