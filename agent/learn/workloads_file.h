// SPDX-License-Identifier: Apache-2.0
// <state-dir>/workloads.json: which workloads are decided, so that a restart of the agent or the node does not begin to
// learn again:
//   {"version": 1, "workloads": [
//   {"namespace": "shop", "owner": "Deployment/web", "images": ["web:1.2"], "verdict": "off", "traits": ["splice"],
//    "connections": 3, "reads": 12, "since": "2026-03-01T09:30:00.125Z", "lastSeen": "2026-03-02"}]}
// It may be removed at any time while no agent runs: then everything is learned anew.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "agent/learn/workloads.h"
#include "underpass/result.h"

namespace underpass::learn {

std::string workloads_path(const std::string& state_dir);

struct Loaded {
  std::vector<Remembered> workloads;
  std::string problem;  // empty: none. Else nothing was loaded, and the file moved aside
};

// Nothing of a file that is not understood as a whole is believed; it is moved to workloads.json.bad.
Loaded load_workloads(const std::string& state_dir);

// A workload whose entry would be longer than 4 KiB (by the names of its images) is left out.
Result<void> save_workloads(const std::string& state_dir, std::span<const Remembered> workloads);

}  // namespace underpass::learn
