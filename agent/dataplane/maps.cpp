// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/maps.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <set>
#include <string>

#include "agent/dataplane/map_access.h"
#include "underpass/seal.h"

namespace underpass::dataplane {
namespace {

// All keys of a hash map that changes while it is walked: it restarts where its key vanished, so it is bounded by the
// map's capacity rather than by luck. A key may be missed that comes in meanwhile; none is invented.
template <typename Key>
std::vector<Key> keys_of(int fd) {
  bpf_map_info info{};
  __u32 size = sizeof(info);
  std::vector<Key> keys;
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return keys;
  Key previous{}, key{};
  while (keys.size() < info.max_entries && bpf_map_get_next_key(fd, keys.empty() ? nullptr : &previous, &key) == 0) {
    keys.push_back(key);
    previous = key;
  }
  return keys;
}

template <typename Key, typename Value>
void for_each(int fd, const std::function<void(const Key&, const Value&)>& visit) {
  std::set<std::string> seen;
  for (const auto& key : keys_of<Key>(fd)) {
    // A restarted walk meets keys twice.
    if (!seen.emplace(reinterpret_cast<const char*>(&key), sizeof(key)).second) continue;
    Value value{};
    if (bpf_map_lookup_elem(fd, &key, &value) == 0) visit(key, value);
  }
}

up_errand_key key_of(const compile::Errand& errand) {
  up_errand_key key{};
  key.netns_cookie = errand.netns;
  key.addr = errand.ip.to_abi();
  key.port = htons(errand.port);
  return key;
}

up_excluded_key key_of(const compile::ExcludedPort& port) {
  return {.netns_cookie = port.netns,
          .port = htons(port.port),
          .inbound = static_cast<__u16>(port.inbound ? 1 : 0),
          .pad = 0};
}

}  // namespace

Result<void> Maps::set_config(const up_config& config) {
  const __u32 zero = 0;
  if (bpf_map_update_elem(fds_.config, &zero, &config, BPF_ANY) != 0) return fail_errno("write up_config");
  return {};
}

up_config Maps::config() const {
  const __u32 zero = 0;
  up_config config{};
  bpf_map_lookup_elem(fds_.config, &zero, &config);
  return config;
}

compile::Tables Maps::tables() const {
  compile::Tables tables;
  for_each<__u64, up_pod>(fds_.pods, [&](const auto& cookie, const auto& pod) {
    tables.pods[cookie] = pod;
    tables.pods[cookie].seal = 0;
  });
  for_each<up_ip_key, up_ip>(
      fds_.ips, [&](const auto& key, const auto& ip) { tables.ips[IpAddress(key.addr)] = ip.netns_cookie; });
  for (const auto& cookie : keys_of<__u64>(fds_.known)) tables.known.insert(cookie);
  for (const auto& key : keys_of<up_excluded_key>(fds_.excluded))
    tables.excluded.insert({.netns = key.netns_cookie, .port = ntohs(key.port), .inbound = key.inbound != 0});
  for (const auto& key : keys_of<up_errand_key>(fds_.errands))
    tables.errands.insert({.netns = key.netns_cookie, .ip = IpAddress(key.addr), .port = ntohs(key.port)});
  return tables;
}

Result<void> Maps::put_pod(NetnsCookie cookie, const up_pod& pod) {
  up_pod row = pod;
  row.seal = up_pod_seal(cookie, row.identity, row.policy, row.capture);
  if (bpf_map_update_elem(fds_.pods, &cookie, &row, BPF_ANY) != 0) return fail_errno("write up_pods");
  return {};
}

void Maps::remove_pod(NetnsCookie cookie) { bpf_map_delete_elem(fds_.pods, &cookie); }

Result<void> Maps::put_ip(const IpAddress& address, NetnsCookie cookie) {
  const up_ip_key key{address.to_abi()};
  const up_ip value{.netns_cookie = cookie, .seal = up_ip_seal(&key, cookie), .pad = 0};
  if (bpf_map_update_elem(fds_.ips, &key, &value, BPF_ANY) != 0) return fail_errno("write up_ips");
  return {};
}

void Maps::remove_ip(const IpAddress& address) {
  const up_ip_key key{address.to_abi()};
  bpf_map_delete_elem(fds_.ips, &key);
}

Result<void> Maps::put_known(NetnsCookie cookie) {
  constexpr __u8 kSeen = 1;
  if (bpf_map_update_elem(fds_.known, &cookie, &kSeen, BPF_ANY) != 0) return fail_errno("write up_known");
  return {};
}

void Maps::remove_known(NetnsCookie cookie) { bpf_map_delete_elem(fds_.known, &cookie); }

Result<void> Maps::put_errand(const compile::Errand& errand) {
  const auto key = key_of(errand);
  const __u8 may = 1;
  if (bpf_map_update_elem(fds_.errands, &key, &may, BPF_ANY) != 0) return fail_errno("write up_errands");
  return {};
}

void Maps::remove_errand(const compile::Errand& errand) {
  const auto key = key_of(errand);
  bpf_map_delete_elem(fds_.errands, &key);
}

Result<void> Maps::put_excluded(const compile::ExcludedPort& port) {
  constexpr __u8 kExcluded = 1;
  const auto key = key_of(port);
  if (bpf_map_update_elem(fds_.excluded, &key, &kExcluded, BPF_ANY) != 0) return fail_errno("write up_excluded");
  return {};
}

void Maps::remove_excluded(const compile::ExcludedPort& port) {
  const auto key = key_of(port);
  bpf_map_delete_elem(fds_.excluded, &key);
}

bool Maps::has_connections() const {
  __u64 first = 0;
  return bpf_map_get_next_key(fds_.conns, nullptr, &first) == 0;
}

std::vector<Connection> Maps::connections() const {
  std::vector<Connection> out;
  for_each<__u64, up_conn>(fds_.conns,
                           [&](const auto& id, const auto& record) { out.push_back({.id = id, .record = record}); });
  return out;
}

std::optional<Connection> Maps::connection(std::uint64_t id) const {
  Connection connection{.id = id};
  if (bpf_map_lookup_elem(fds_.conns, &id, &connection.record) != 0) return std::nullopt;
  return connection;
}

void Maps::unmap_socket(SocketCookie cookie) { bpf_map_delete_elem(fds_.socks, &cookie); }

void Maps::add_pool(NetnsCookie pod) {
  const up_budget empty{};
  const __u64 none = 0;
  bpf_map_update_elem(fds_.budget, &pod, &empty, BPF_NOEXIST);
  bpf_map_update_elem(fds_.source_count, &pod, &none, BPF_NOEXIST);
}

void Maps::drop_empty_pools(const std::map<NetnsCookie, up_pod>& pods, NetnsCookie host) {
  std::vector<__u64> dead;
  for_each<__u64, up_budget>(fds_.budget, [&](const auto& pod, const auto& budget) {
    if (pod != 0 && pod != host && budget.used == 0 && !pods.contains(pod)) dead.push_back(pod);
  });
  for (const auto& pod : dead) {
    bpf_map_delete_elem(fds_.budget, &pod);
    bpf_map_delete_elem(fds_.source_count, &pod);
  }
}

std::uint64_t Maps::used_of_pool(NetnsCookie pod) const {
  up_budget budget{};
  return bpf_map_lookup_elem(fds_.budget, &pod, &budget) == 0 ? budget.used : 0;
}

// Without the map, all of these do nothing: the kernel knows no descriptor -1.
void Maps::add_habits(NetnsCookie pod) {
  const up_habits none{};
  bpf_map_update_elem(fds_.habits, &pod, &none, BPF_NOEXIST);
}

void Maps::reset_habits(NetnsCookie pod) {
  const up_habits none{};
  bpf_map_update_elem(fds_.habits, &pod, &none, BPF_EXIST);
}

void Maps::forget_habits(const std::map<NetnsCookie, up_pod>& pods) {
  for (const auto& pod : keys_of<__u64>(fds_.habits))
    if (!pods.contains(pod)) bpf_map_delete_elem(fds_.habits, &pod);
}

std::map<NetnsCookie, up_habits> Maps::habits() const {
  std::map<NetnsCookie, up_habits> out;
  for_each<__u64, up_habits>(fds_.habits, [&](const auto& pod, const auto& habits) { out[pod] = habits; });
  return out;
}

void Maps::drop_old_sources(std::uint64_t now_ns) {
  std::vector<up_source_key> old;
  std::map<NetnsCookie, std::uint64_t> counts;
  for_each<up_source_key, up_source>(fds_.sources, [&](const auto& key, const auto& source) {
    auto& count = counts[source.client_netns];
    if (source.created_ns + UP_SOURCE_TTL_NS < now_ns)
      old.push_back(key);
    else
      ++count;
  });
  if (old.empty()) return;
  for (const auto& key : old) bpf_map_delete_elem(fds_.sources, &key);
  for (const auto& [pod, count] : counts) bpf_map_update_elem(fds_.source_count, &pod, &count, BPF_EXIST);
}

up_stats Maps::stats() const {
  up_stats sum{};
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return sum;
  std::vector<up_stats> values(static_cast<size_t>(cpus));
  const __u32 zero = 0;
  if (bpf_map_lookup_elem(fds_.stats, &zero, values.data()) != 0) return sum;
  for (const auto& value : values) {
    sum.redirected_messages += value.redirected_messages;
    sum.redirected_bytes += value.redirected_bytes;
    sum.flows_lost += value.flows_lost;
    for (size_t i = 0; i < std::size(sum.connections); ++i) sum.connections[i] += value.connections[i];
    for (size_t i = 0; i < std::size(sum.fallbacks); ++i) sum.fallbacks[i] += value.fallbacks[i];
    for (size_t i = 0; i < std::size(sum.resets); ++i) sum.resets[i] += value.resets[i];
  }
  return sum;
}

std::size_t Maps::connections_capacity() const { return capacity_of(fds_.conns); }

std::vector<Maps::Fill> Maps::fill() const {
  const auto count = [](const char* name, int fd, std::uint64_t entries) {
    bpf_map_info info{};
    __u32 size = sizeof(info);
    bpf_obj_get_info_by_fd(fd, &info, &size);
    return Fill{.map = name, .entries = entries, .capacity = info.max_entries};
  };
  std::vector<Fill> out{count("up_pods", fds_.pods, keys_of<__u64>(fds_.pods).size()),
                        count("up_ips", fds_.ips, keys_of<up_ip_key>(fds_.ips).size()),
                        count("up_conns", fds_.conns, keys_of<__u64>(fds_.conns).size()),
                        count("up_sources", fds_.sources, keys_of<up_source_key>(fds_.sources).size()),
                        count("up_budget", fds_.budget, keys_of<__u64>(fds_.budget).size())};
  if (fds_.habits >= 0) out.push_back(count("up_habits", fds_.habits, keys_of<__u64>(fds_.habits).size()));
  return out;
}

}  // namespace underpass::dataplane
