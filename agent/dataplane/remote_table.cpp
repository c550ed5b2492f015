// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/remote_table.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <algorithm>
#include <string>

#include "agent/dataplane/map_access.h"
#include "underpass/seal.h"

namespace underpass::dataplane {
namespace {

up_remote_key to_abi(const compile::RemoteKey& key) {
  up_remote_key out{};
  out.addr = key.ip.to_abi();
  out.port = htons(key.port);
  return out;
}

std::string name_of(const compile::RemoteKey& key, const compile::Remote& remote) {
  return "Pod " + remote.pod.to_string() + ": address " + key.ip.to_string() +
         (key.port == 0 ? "" : " port " + std::to_string(key.port));
}

}  // namespace

std::vector<Error> RemoteTable::apply(const compile::Remotes& wanted, const compile::RemoteCompiler::Update& update) {
  std::vector<Error> errors;
  std::set<compile::RemoteKey> due = update.rows;
  due.merge(failed_);
  failed_.clear();
  if (fresh_ || update.everything) {
    std::vector<up_remote_key> present;
    for_each_key<up_remote_key>(fd_, [&](const auto& key) { present.push_back(key); });
    for (const auto& key : present) due.insert({.ip = IpAddress(key.addr), .port = ntohs(key.port)});
    for (const auto& [key, remote] : wanted) due.insert(key);
    fresh_ = false;
  }
  // Room is made before it is taken.
  for (const auto& key : due) {
    if (wanted.contains(key)) continue;
    const auto raw = to_abi(key);
    bpf_map_delete_elem(fd_, &raw);
  }
  for (const auto& key : due) {
    const auto found = wanted.find(key);
    if (found == wanted.end()) continue;
    const auto raw = to_abi(key);
    auto value = compile::to_abi(found->second);
    value.seal = up_remote_seal(&raw, value.identity, value.tunnel, value.workload);
    if (auto done = write_map(fd_, "up_remotes", &raw, &value); !done) {
      errors.push_back(
          {name_of(key, found->second) + ": " + done.error().message + ": what dials it goes by plain TCP"});
      failed_.insert(key);
    }
  }
  rows_ = wanted.size();
  return errors;
}

std::map<NamespacedName, std::set<IpAddress>> RemoteTable::tunnelled() const {
  std::map<NamespacedName, std::set<IpAddress>> out;
  for_each_key<up_remote_key>(fd_, [&](const auto& key) {
    up_remote value{};
    if (bpf_map_lookup_elem(fd_, &key, &value) != 0 || value.tunnel != UP_TUNNEL_HBONE) return;
    out[{.ns = value.namespace_name, .name = value.name}].insert(IpAddress(key.addr));
  });
  return out;
}

std::uint32_t RemoteTable::greatest_identity() const {
  std::uint32_t out = 0;
  for_each_key<up_remote_key>(fd_, [&](const auto& key) {
    up_remote value{};
    if (bpf_map_lookup_elem(fd_, &key, &value) == 0) out = std::max(out, value.identity);
  });
  return out;
}

Maps::Fill RemoteTable::fill() const {
  return {.map = "up_remotes", .entries = rows_ - failed_.size(), .capacity = capacity_of(fd_)};
}

}  // namespace underpass::dataplane
