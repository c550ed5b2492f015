// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/policy_maps.h"

#include <algorithm>
#include <string>
#include <vector>

#include "agent/dataplane/map_access.h"

namespace underpass::dataplane {
namespace {

up_block_key key_of(std::uint32_t set, const compile::PolicyRows::Block& block) {
  up_block_key key{};
  key.prefix = UP_BLOCK_PREFIX + block.block.prefix;
  key.set = set;
  key.end = block.end;
  key.addr = block.block.base.to_abi();
  return key;
}

template <typename Key>
void remove_of(int fd, const std::set<std::uint32_t>& sets) {
  std::vector<Key> gone;
  for_each_key<Key>(fd, [&](const Key& key) {
    if (sets.contains(key.set)) gone.push_back(key);
  });
  for (const auto& key : gone) bpf_map_delete_elem(fd, &key);
}

}  // namespace

Result<void> PolicyMaps::put(std::uint32_t set, const compile::PolicyRows& rows) {
  auto done = write(set, rows);
  if (!done) remove(set, rows);
  return done;
}

Result<void> PolicyMaps::write(std::uint32_t set, const compile::PolicyRows& rows) {
  for (std::uint32_t row = 0; row < rows.rows.size(); ++row) {
    const up_row_key key{set, row};
    if (auto done = write_map(fds_.clauses, "up_clauses", &key, &rows.rows[row]); !done) return done;
  }
  for (const auto& [identity, row] : rows.identities) {
    const up_who_key key{set, identity};
    if (auto done = write_map(fds_.who, "up_policy_who", &key, &row); !done) return done;
  }
  for (const auto& [port, row] : rows.ports) {
    const up_port_key key{set, port, 0};
    if (auto done = write_map(fds_.port, "up_policy_port", &key, &row); !done) return done;
  }
  for (const auto& block : rows.blocks) {
    const auto key = key_of(set, block);
    if (auto done = write_map(fds_.ip, "up_policy_ip", &key, &block.row); !done) return done;
  }
  return write_map(fds_.policies, "up_policies", &set, &rows.head);
}

void PolicyMaps::remove(std::uint32_t set, const compile::PolicyRows& rows) {
  bpf_map_delete_elem(fds_.policies, &set);
  for (const auto& block : rows.blocks) {
    const auto key = key_of(set, block);
    bpf_map_delete_elem(fds_.ip, &key);
  }
  for (const auto& [port, row] : rows.ports) {
    const up_port_key key{set, port, 0};
    bpf_map_delete_elem(fds_.port, &key);
  }
  for (const auto& [identity, row] : rows.identities) {
    const up_who_key key{set, identity};
    bpf_map_delete_elem(fds_.who, &key);
  }
  for (std::uint32_t row = 0; row < rows.rows.size(); ++row) {
    const up_row_key key{set, row};
    bpf_map_delete_elem(fds_.clauses, &key);
  }
}

std::set<std::uint32_t> PolicyMaps::sets() const {
  std::set<std::uint32_t> out;
  for_each_key<std::uint32_t>(fds_.policies, [&](std::uint32_t set) { out.insert(set); });
  for_each_key<up_row_key>(fds_.clauses, [&](const auto& key) { out.insert(key.set); });
  return out;
}

std::vector<std::pair<up_denied_key, std::uint64_t>> PolicyMaps::denied() const {
  std::vector<std::pair<up_denied_key, std::uint64_t>> out;
  for_each_key<up_denied_key>(fds_.denied, [&](const auto& key) {
    std::uint64_t count = 0;
    if (bpf_map_lookup_elem(fds_.denied, &key, &count) == 0) out.emplace_back(key, count);
  });
  return out;
}

void PolicyMaps::forget_denied(const up_denied_key& key) { bpf_map_delete_elem(fds_.denied, &key); }

std::uint32_t PolicyMaps::greatest_identity() const {
  std::uint32_t out = 0;
  for_each_key<up_who_key>(fds_.who, [&](const auto& key) { out = std::max(out, key.identity); });
  return out;
}

void PolicyMaps::remove_all(const std::set<std::uint32_t>& sets) {
  for (const auto set : sets) bpf_map_delete_elem(fds_.policies, &set);
  remove_of<up_block_key>(fds_.ip, sets);
  remove_of<up_port_key>(fds_.port, sets);
  remove_of<up_who_key>(fds_.who, sets);
  remove_of<up_row_key>(fds_.clauses, sets);
}

}  // namespace underpass::dataplane
