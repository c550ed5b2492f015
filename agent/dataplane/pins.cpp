// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/pins.h"

#include <bpf/bpf.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "underpass/abi.h"

namespace underpass::dataplane {
namespace {

const std::string kRemedy =
    "run `underpassctl detach --node` to remove it (live connections go on as plain TCP), then start again";

// bpffs takes no dots in names.
constexpr std::string_view kPreviousSuffix = "_previous";
constexpr const char* kConfig = "up_config";
const std::string kPreviousConfig = kConfig + std::string(kPreviousSuffix);

struct MapShape {
  const char* name;
  std::uint32_t key_size;
  std::uint32_t value_size;
};
// SK_STORAGE and SOCKHASH have the shapes that the kernel demands.
constexpr std::array kShapes{
    MapShape{"up_budget", 8, sizeof(up_budget)},
    MapShape{"up_config", 4, sizeof(up_config)},
    MapShape{"up_conns", 8, sizeof(up_conn)},
    MapShape{"up_heartbeat", 4, sizeof(up_heartbeat)},
    MapShape{"up_errands", sizeof(up_errand_key), 1},
    MapShape{"up_excluded", sizeof(up_excluded_key), 1},
    MapShape{"up_habits", 8, sizeof(up_habits)},
    MapShape{"up_ips", sizeof(up_ip_key), sizeof(up_ip)},
    MapShape{"up_known", 8, 1},
    MapShape{"up_pods", 8, sizeof(up_pod)},
    MapShape{"up_remotes", sizeof(up_remote_key), sizeof(up_remote)},
    MapShape{"up_sk", 4, sizeof(up_sk)},
    MapShape{"up_socks", 8, 8},
    MapShape{"up_source_count", 8, 8},
    MapShape{"up_sources", sizeof(up_source_key), sizeof(up_source)},
    MapShape{"up_stats", 4, sizeof(up_stats)},
    MapShape{"up_wake", 0, 0},
    MapShape{"up_workers", 8, sizeof(up_worker)},
};

Result<void> check_shape(const std::string& pin_dir, const MapShape& shape) {
  auto fd = open_pin(pin_dir, shape.name);
  if (!fd) return std::unexpected(fd.error());
  bpf_map_info info{};
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd->get(), &info, &size) != 0 || info.name[0] == '\0' || info.key_size != shape.key_size ||
      info.value_size != shape.value_size)
    return fail(pin_dir + "/" + shape.name + ": not a map of this layout: " + kRemedy);
  return {};
}

// up_config of any layout: `layout` and `short_circuit` stand first in all of them.
struct RawConfig {
  UniqueFd map;
  std::vector<char> value;
};

Result<RawConfig> read_config(const std::string& pin_dir, const std::string& name) {
  constexpr __u32 kHead = offsetof(up_config, short_circuit) + sizeof(up_config::short_circuit), kMost = 4096;
  auto map = open_pin(pin_dir, name);
  if (!map) return std::unexpected(map.error());
  bpf_map_info info{};
  __u32 size = sizeof(info);
  const __u32 zero = 0;
  std::vector<char> value(kMost);
  if (bpf_obj_get_info_by_fd(map->get(), &info, &size) != 0 || info.key_size != sizeof(zero) ||
      info.value_size < kHead || info.value_size > kMost || bpf_map_lookup_elem(map->get(), &zero, value.data()) != 0)
    return fail(pin_dir + "/" + name + ": not a map of ours: " + kRemedy);
  return RawConfig{.map = std::move(*map), .value = std::move(value)};
}

}  // namespace

std::string pin_dir_of(const std::string& bpffs) { return bpffs + "/underpass"; }

Result<Pins> list_pins(const std::string& pin_dir) {
  Pins pins;
  std::error_code error;
  if (!std::filesystem::exists(pin_dir, error)) return pins;
  for (const auto& entry : std::filesystem::directory_iterator(pin_dir, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("up_") && name.ends_with(kPreviousSuffix))
      pins.previous.push_back(name);
    else if (name.starts_with("up_"))
      pins.maps.push_back(name);
    else if (name.starts_with("link_"))
      pins.links.push_back(name);
    else
      pins.other.push_back(name);
  }
  if (error) return fail(pin_dir + ": " + error.message());
  std::ranges::sort(pins.maps);
  std::ranges::sort(pins.links);
  return pins;
}

Result<UniqueFd> open_pin(const std::string& pin_dir, const std::string& name) {
  UniqueFd fd(bpf_obj_get((pin_dir + "/" + name).c_str()));
  if (!fd) return fail_errno(pin_dir + "/" + name);
  return fd;
}

Result<LayoutState> check_layout(const std::string& pin_dir) {
  auto pins = list_pins(pin_dir);
  if (!pins) return std::unexpected(pins.error());
  if (pins->empty()) return LayoutState::kNone;
  if (std::ranges::find(pins->previous, kPreviousConfig) != pins->previous.end()) return LayoutState::kPrevious;
  if (std::ranges::find(pins->maps, kConfig) == pins->maps.end())
    return pins->links.empty() && pins->other.empty()
               ? Result<LayoutState>(LayoutState::kUnfinished)
               : fail(pin_dir + ": has links but no up_config: another program's, or half removed: " + kRemedy);

  auto config = read_config(pin_dir, kConfig);
  if (!config) return std::unexpected(config.error());
  __u32 layout = 0;
  std::memcpy(&layout, config->value.data(), sizeof(layout));
  if (layout == UP_LAYOUT - 1) return LayoutState::kPrevious;
  if (layout != 0 && layout != UP_LAYOUT)
    return fail(pin_dir + ": the pinned maps are of layout " + std::to_string(layout) + ", this version has layout " +
                std::to_string(UP_LAYOUT) + ": " + kRemedy);
  for (const auto& shape : kShapes) {
    if (std::ranges::find(pins->maps, shape.name) == pins->maps.end()) continue;
    auto fits = check_shape(pin_dir, shape);
    if (!fits) return std::unexpected(fits.error());
  }
  return layout == 0 ? LayoutState::kUnfinished : LayoutState::kOurs;
}

// up_config goes last, and comes back first: by its place is told how far it is.
Result<void> set_aside(const std::string& pin_dir) {
  auto pins = list_pins(pin_dir);
  if (!pins) return std::unexpected(pins.error());
  if (auto done = throw_kill_switch(pin_dir); !done) return done;
  const bool all = std::ranges::find(pins->previous, kPreviousConfig) != pins->previous.end();
  std::ranges::stable_partition(pins->maps, [](const auto& name) { return name != kConfig; });
  for (const auto& name : pins->maps) {
    const std::string path = pin_dir + "/" + name;
    // Those beside maps that are set aside are of an agent that did not come to its end.
    const int done =
        all ? ::unlink(path.c_str()) : std::rename(path.c_str(), (path + std::string(kPreviousSuffix)).c_str());
    if (done != 0) return fail_errno("set aside " + path);
  }
  return {};
}

void remove_previous(const std::string& pin_dir) {
  const auto pins = list_pins(pin_dir);
  if (!pins) return;
  ::unlink((pin_dir + "/" + kPreviousConfig).c_str());
  for (const auto& name : pins->previous) ::unlink((pin_dir + "/" + name).c_str());
}

Result<void> throw_kill_switch(const std::string& pin_dir) {
  const auto pins = list_pins(pin_dir);
  const bool aside = pins && std::ranges::find(pins->previous, kPreviousConfig) != pins->previous.end();
  auto config = read_config(pin_dir, aside ? kPreviousConfig : kConfig);
  if (!config) return std::unexpected(config.error());
  const __u32 zero = 0;
  std::memcpy(config->value.data() + offsetof(up_config, short_circuit), &zero, sizeof(zero));
  if (bpf_map_update_elem(config->map.get(), &zero, config->value.data(), BPF_ANY) != 0)
    return fail_errno("write " + pin_dir + "/up_config");
  return {};
}

}  // namespace underpass::dataplane
