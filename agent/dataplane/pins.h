// SPDX-License-Identifier: Apache-2.0
// The folder <bpffs>/underpass/: what outlives the agent. Maps stand there under their own names (up_*), links as
// link_*.
#pragma once

#include <string>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {

std::string pin_dir_of(const std::string& bpffs);

struct Pins {
  std::vector<std::string> maps;  // file names, sorted
  std::vector<std::string> links;
  std::vector<std::string> previous;  // maps that were set aside: up_config_previous
  std::vector<std::string> other;     // neither: not ours
  [[nodiscard]] bool empty() const { return maps.empty() && links.empty() && previous.empty() && other.empty(); }
};

// What stands in the folder; nothing where the folder does not exist.
Result<Pins> list_pins(const std::string& pin_dir);

// Opens a pinned object of any kind.
Result<UniqueFd> open_pin(const std::string& pin_dir, const std::string& name);

// What pinned maps say about the agent that made them. kUnfinished: it died before it said anything. kPrevious: it was
// of the layout before ours, or its maps are set aside.
enum class LayoutState { kNone, kUnfinished, kOurs, kPrevious };
// Fails, with what to do, when the maps are of another layout or no maps of ours at all.
Result<LayoutState> check_layout(const std::string& pin_dir);

// --- from the layout before ours to ours: what is attached goes on with its own maps until ours are filled ---
// Makes room for maps of ours, also where a migration was begun and not ended. Its short-circuits end: all goes by TCP.
Result<void> set_aside(const std::string& pin_dir);
// Ours are attached: what was set aside goes.
void remove_previous(const std::string& pin_dir);

// Throws the kill switch in up_config, whichever layout it has: from now on every message goes by TCP.
Result<void> throw_kill_switch(const std::string& pin_dir);

}  // namespace underpass::dataplane
