// SPDX-License-Identifier: Apache-2.0
// What the pinned maps hold and which programs belong to them, read straight from the kernel: so that a test can look
// when the agent is dead, and need not believe the agent about itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "test/support/sandbox.h"
#include "underpass/abi.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// Throws where there is none.
UniqueFd open_pinned_map(const std::filesystem::path& path);

class Pinned {
 public:
  explicit Pinned(const Sandbox& sandbox) : folder_(sandbox.pins()) {}

  // Anything below <bpffs>/underpass.
  [[nodiscard]] bool any() const;
  [[nodiscard]] up_stats stats() const;  // summed over the CPUs
  [[nodiscard]] up_config config() const;
  void set_config(const up_config& config) const;
  // The record of the connection whose client is the socket `fd`.
  [[nodiscard]] std::optional<up_conn> connection(int fd) const;
  // ... with this id: that socket's cookie.
  [[nodiscard]] std::optional<up_conn> connection_of(std::uint64_t id) const;
  // Of the pod with this cookie, if a worker takes its connections.
  [[nodiscard]] std::optional<up_worker> worker(std::uint64_t netns_cookie) const;
  [[nodiscard]] std::optional<up_pod> pod(std::uint64_t netns_cookie) const;
  // Of the set with this number; 0: there is none.
  [[nodiscard]] std::uint32_t clauses_of(std::uint32_t set) const;
  // Tokens out towards the pod with this cookie; 0: of the node.
  [[nodiscard]] std::uint64_t budget_used(std::uint64_t netns_cookie) const;
  [[nodiscard]] std::size_t entries(const std::string& map) const;

  // Ids of the maps pinned here, and of all loaded programs that use one of them.
  [[nodiscard]] std::set<std::uint32_t> map_ids() const;
  [[nodiscard]] std::set<std::uint32_t> program_ids() const;

 private:
  std::filesystem::path folder_;
};

// Is there still a program with one of these ids?
bool any_program_alive(const std::set<std::uint32_t>& ids);
// Ids of the programs attached at the cgroup itself (links and plain ones), of every cgroup attach type.
std::set<std::uint32_t> programs_at(const std::filesystem::path& cgroup);

}  // namespace underpass::test
