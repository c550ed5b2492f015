// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/service_maps.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <algorithm>
#include <string>

#include "agent/dataplane/map_access.h"
#include "underpass/seal.h"

namespace underpass::dataplane {
namespace {

up_service_key to_abi(const compile::Frontend& frontend) {
  up_service_key key{};
  key.addr = frontend.ip.to_abi();
  key.port = htons(frontend.port);
  key.protocol = static_cast<__u8>(frontend.protocol);
  return key;
}

// Every entry of a hash map: in steps of a thousand (BPF_MAP_LOOKUP_BATCH), since a hundred thousand system calls are a
// noticeable part of a start.
template <typename Key, typename Value>
void for_each(int fd, const std::function<void(const Key&, const Value&)>& visit) {
  constexpr __u32 kStep = 1024;
  std::vector<Key> keys(kStep);
  std::vector<Value> values(kStep);
  __u32 position = 0;
  for (bool first = true;; first = false) {
    __u32 count = kStep;
    const int error =
        bpf_map_lookup_batch(fd, first ? nullptr : &position, &position, keys.data(), values.data(), &count, nullptr);
    if (error != 0 && errno != ENOENT) return;
    for (__u32 i = 0; i < count; ++i) visit(keys[i], values[i]);
    if (error != 0) return;
  }
}

}  // namespace

Result<void> ServiceMaps::put_service(const compile::Frontend& frontend, const up_service& service) {
  const auto key = to_abi(frontend);
  up_service row = service;
  row.seal = up_service_seal(&key, row.id, row.slots, row.affinity_s, row.flags);
  return write_map(fds_.services, "up_services", &key, &row);
}

void ServiceMaps::remove_service(const compile::Frontend& frontend) {
  const auto key = to_abi(frontend);
  bpf_map_delete_elem(fds_.services, &key);
}

void ServiceMaps::for_each_service(
    const std::function<void(const compile::Frontend&, const up_service&)>& visit) const {
  for_each<up_service_key, up_service>(fds_.services, [&](const auto& key, auto service) {
    service.seal = 0;
    visit({.ip = IpAddress(key.addr), .port = ntohs(key.port), .protocol = static_cast<model::Protocol>(key.protocol)},
          service);
  });
}

Result<void> ServiceMaps::put_slot(std::uint32_t service, std::uint32_t slot, const compile::SlotTarget& target) {
  const up_backend_key key{service, slot};
  up_backend value{};
  value.addr = target.ip.to_abi();
  value.port = htons(target.port);
  value.seal = up_backend_seal(&key, &value.addr, value.port);
  return write_map(fds_.backends, "up_backends", &key, &value);
}

void ServiceMaps::remove_slot(std::uint32_t service, std::uint32_t slot) {
  const up_backend_key key{service, slot};
  bpf_map_delete_elem(fds_.backends, &key);
}

void ServiceMaps::for_each_slot(
    const std::function<void(std::uint32_t, std::uint32_t, const compile::SlotTarget&)>& visit) const {
  for_each<up_backend_key, up_backend>(fds_.backends, [&](const auto& key, const auto& backend) {
    visit(key.service, key.slot, {.ip = IpAddress(backend.addr), .port = ntohs(backend.port)});
  });
}

Result<void> ServiceMaps::put_block(std::uint32_t service, std::uint32_t block,
                                    std::span<const std::uint16_t> entries) {
  const up_maglev_key key{service, block};
  up_maglev value{};
  std::ranges::copy(entries, std::begin(value.slot));
  return write_map(fds_.maglev, "up_maglev", &key, &value);
}

void ServiceMaps::remove_block(std::uint32_t service, std::uint32_t block) {
  const up_maglev_key key{service, block};
  bpf_map_delete_elem(fds_.maglev, &key);
}

void ServiceMaps::for_each_block(
    const std::function<void(std::uint32_t, std::uint32_t, const up_maglev&)>& visit) const {
  for_each<up_maglev_key, up_maglev>(fds_.maglev,
                                     [&](const auto& key, const auto& block) { visit(key.service, key.block, block); });
}

Result<void> ServiceMaps::put_node(const IpAddress& address) {
  const up_ip_key key{address.to_abi()};
  const __u32 one = 1;
  return write_map(fds_.nodes, "up_nodes", &key, &one);
}

void ServiceMaps::remove_node(const IpAddress& address) {
  const up_ip_key key{address.to_abi()};
  bpf_map_delete_elem(fds_.nodes, &key);
}

std::vector<IpAddress> ServiceMaps::nodes() const {
  std::vector<IpAddress> out;
  for_each<up_ip_key, __u32>(fds_.nodes, [&](const auto& key, const auto&) { out.emplace_back(key.addr); });
  return out;
}

std::vector<std::pair<up_traffic_key, up_traffic>> ServiceMaps::traffic() const {
  std::vector<std::pair<up_traffic_key, up_traffic>> out;
  for_each<up_traffic_key, up_traffic>(fds_.traffic,
                                       [&](const auto& key, const auto& row) { out.emplace_back(key, row); });
  return out;
}

void ServiceMaps::remove_traffic(const up_traffic_key& key) { bpf_map_delete_elem(fds_.traffic, &key); }

void ServiceMaps::add_traffic_overflow() {
  const up_traffic_key key{};
  const up_traffic none{};
  bpf_map_update_elem(fds_.traffic, &key, &none, BPF_NOEXIST);
}

ServiceMaps::Capacity ServiceMaps::capacity() const {
  return {.services = capacity_of(fds_.services),
          .backends = capacity_of(fds_.backends),
          .maglev = capacity_of(fds_.maglev)};
}

}  // namespace underpass::dataplane
