// SPDX-License-Identifier: Apache-2.0
// Taking a node out of the mesh, with or without an agent: live connections go on as plain TCP and lose no byte.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/result.h"

namespace underpass::dataplane {

struct CutConnection {
  std::uint64_t id = 0;
  std::string description;  // "10.0.0.1:4711 -> 10.0.0.2:80"
};

struct DetachResult {
  std::vector<CutConnection> cut;    // their readers did not drain in time: reset, never robbed of bytes in silence
  std::vector<std::string> removed;  // the pins
};

// Works on the pins alone, agent or not. Returns when everything is gone. Pins of another layout are removed too, with
// their connections untouched: they keep the programs they have until they close.
Result<DetachResult> detach_node(const std::string& pin_dir, std::chrono::milliseconds timeout,
                                 const std::function<void(std::string_view)>& progress);

// Removes the folder and every pin in it; returns their names.
std::vector<std::string> remove_pins(const std::string& pin_dir);

}  // namespace underpass::dataplane
