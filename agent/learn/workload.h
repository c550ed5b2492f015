// SPDX-License-Identifier: Apache-2.0
// What is learned, and of whom. Pods of one workload run the same program, so what one of them does on its connections
// holds for all; another image is another program, of which nothing is known.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/model/objects.h"

namespace underpass::learn {

struct Workload {
  std::string ns;
  std::string owner;                // "Deployment/web"
  std::vector<std::string> images;  // in the order of the containers

  auto operator<=>(const Workload&) const = default;
  [[nodiscard]] std::string to_string() const { return ns + "/" + owner; }  // without the images: for people
};

Workload workload_of(const model::Pod& pod);

enum class State {
  kLearning,  // not known: as off, and watched
  kOn,        // did nothing that short-circuit cannot carry for long enough
  kOff,       // did, and stays on TCP
};
std::string_view name_of(State state);

struct Verdict {
  State state = State::kLearning;
  std::uint64_t connections = 0;    // with payload read: so far, and once it is kOn those that were enough
  std::uint64_t reads = 0;          // ... and recv() calls that returned payload
  std::vector<std::string> traits;  // of kOff: what it did, by the names of abi_names.h
  std::string since;                // RFC 3339, UTC; empty while learning

  bool operator==(const Verdict&) const = default;
};

// Workloads that are decided. Who is not among them is being learned.
using Verdicts = std::map<Workload, Verdict>;

// For operators: "learning: 3 of 8 connections, 12 of 32 reads", "learned: 8 connections without a trait",
// "splice seen on 2026-03-01: stays on TCP".
std::string explain(const Verdict& verdict);

}  // namespace underpass::learn
