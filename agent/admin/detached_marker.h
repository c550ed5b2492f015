// SPDX-License-Identifier: Apache-2.0
// What `underpassctl detach` asked for, kept in the state folder so that it outlives the agent and a reboot, until
// `underpassctl attach`; and what the Node's label said last. The agent reads it before it attaches anything; the tool
// writes it itself when no agent answers.
#pragma once

#include <set>
#include <string>

#include "underpass/result.h"

namespace underpass::admin {

struct DetachedMarker {
  bool node = false;                 // nothing is attached on this node, as an operator asked
  bool node_label = false;           // ... as the label underpass.dev/mesh: disabled of the Node asks
  std::set<std::string> namespaces;  // treated as if labelled underpass.dev/mesh: disabled
  std::string since;                 // RFC 3339, UTC: the first detach still in force

  [[nodiscard]] bool detached() const { return node || node_label; }  // the node as a whole
  [[nodiscard]] bool is_empty() const { return !detached() && namespaces.empty(); }
  bool operator==(const DetachedMarker&) const = default;
};

// <state-dir>/detached
std::string detached_marker_path(const std::string& state_dir);

// An empty marker where there is no file. An error means that somebody asked for a detach and we cannot tell which:
// attach nothing then.
Result<DetachedMarker> load_detached_marker(const std::string& state_dir);

// Replaces the file in one step and syncs it, making the folder where it is missing; an empty marker removes it.
Result<void> save_detached_marker(const std::string& state_dir, const DetachedMarker& marker);

}  // namespace underpass::admin
