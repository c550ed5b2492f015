// SPDX-License-Identifier: Apache-2.0
// Pod by pod, in the order of their names: what is wanted, whether it is possible, and then its rows in the tables.
#include "agent/compile/compile.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "agent/compile/enrolment.h"

namespace underpass::compile {
namespace {

up_mode to_abi(model::ShortCircuit mode) {
  switch (mode) {
    case model::ShortCircuit::kOff:
      return UP_MODE_OFF;
    case model::ShortCircuit::kAuto:
      return UP_MODE_AUTO;
    case model::ShortCircuit::kOn:
      return UP_MODE_ON;
  }
  return UP_MODE_OFF;
}

template <std::size_t kSize>
void copy_name(char (&out)[kSize], std::string_view name) {
  assert(name.size() < kSize && "the decoders let no longer name pass");
  std::memcpy(out, name.data(), name.size());
}

// In mode auto, what was learned of the workload; an annotation that says on or off is never overridden.
Chosen<model::ShortCircuit> decide_mode(const Chosen<model::ShortCircuit>& asked, const learn::Workload& workload,
                                        const Options& options) {
  if (asked.value != model::ShortCircuit::kAuto) return asked;
  if (!options.auto_problem.empty()) return {model::ShortCircuit::kOff, options.auto_problem};
  const auto verdict = options.verdicts.find(workload);
  if (verdict == options.verdicts.end()) return asked;
  switch (verdict->second.state) {
    case learn::State::kOn:
      return {model::ShortCircuit::kOn, learn::explain(verdict->second)};
    case learn::State::kOff:
      return {model::ShortCircuit::kOff, learn::explain(verdict->second)};
    case learn::State::kLearning:
      break;
  }
  return asked;
}

// FNV-1a of the primary address, the same on every node; 32 bits are enough to spread pods over Maglev's slots.
std::uint32_t hash_of(const std::vector<IpAddress>& ips) {
  std::uint32_t hash = 2166136261u;
  if (ips.empty()) return hash;
  for (const std::uint8_t byte : ips.front().to_abi().bytes) hash = (hash ^ byte) * 16777619u;
  return hash ^ hash >> 15;
}

// Zeros where it has none.
up_addr first_of(const std::vector<IpAddress>& ips, bool v4) {
  const auto found = std::ranges::find_if(ips, [&](const IpAddress& ip) { return ip.is_v4() == v4; });
  return found == ips.end() ? up_addr{} : found->to_abi();
}

up_pod make_row(const PodStatus& pod, const Wish& wish, std::uint32_t namespace_id) {
  const auto mode = pod.short_circuit;
  up_pod row{};
  row.mode = to_abi(mode);
  row.learned = wish.short_circuit.value == model::ShortCircuit::kAuto && mode == model::ShortCircuit::kOn ? 1 : 0;
  row.peers_mesh = wish.peers.value == model::ShortCircuitPeers::kMesh ? 1 : 0;
  row.namespace_id = namespace_id;
  row.hash = hash_of(pod.ips);
  row.capture = wish.capture.value == model::Capture::kAlways ? UP_CAPTURE_OUTBOUND | UP_CAPTURE_INBOUND : 0;
  row.ip4 = first_of(pod.ips, true);
  row.ip6 = first_of(pod.ips, false);
  copy_name(row.namespace_name, pod.id.ns);
  copy_name(row.name, pod.id.name);
  return row;
}

std::vector<ExcludedPort> excluded_of(const model::Pod& pod, const PodStatus& status) {
  std::vector<ExcludedPort> out;
  for (const auto port : pod.exclude_outbound_ports) out.push_back({status.netns_cookie, port, false});
  if (!status.capture) return out;
  for (const auto port : pod.exclude_inbound_ports) out.push_back({status.netns_cookie, port, true});
  return out;
}

std::string name_of(const up_pod& row) { return std::string(row.namespace_name) + "/" + row.name; }

// Which enrolled pod already has what this one claims. The one that comes first by name keeps it.
std::optional<std::string> find_rival(const PodStatus& pod, const Tables& tables) {
  if (const auto rival = tables.pods.find(pod.netns_cookie); rival != tables.pods.end()) {
    return "network namespace " + pod.netns_path + " is already that of pod " + name_of(rival->second);
  }
  for (const auto& ip : pod.ips) {
    if (const auto rival = tables.ips.find(ip); rival != tables.ips.end()) {
      return ip.to_string() + " is already the address of pod " + name_of(tables.pods.at(rival->second));
    }
  }
  return std::nullopt;
}

const model::Namespace* find_namespace(const model::Snapshot& snapshot, const std::string& name) {
  const auto found = snapshot.namespaces.find(name);
  return found == snapshot.namespaces.end() ? nullptr : &found->second;
}

const Result<NetnsFact>* find_fact(const NetnsFacts& facts, const NamespacedName& id) {
  const auto found = facts.find(id);
  return found == facts.end() ? nullptr : &found->second;
}

}  // namespace

const std::vector<IpAddress>& addresses_of(const model::Pod& pod, const Result<NetnsFact>* fact) {
  if (fact == nullptr || !*fact || (*fact)->announced.empty()) return pod.ips;
  // Until the kubelet has told of a new sandbox, the API has the addresses of the one before it.
  const auto& found = (*fact)->addresses;
  const auto owned = [&found](const auto& ip) { return std::ranges::find(found, ip) != found.end(); };
  return !pod.ips.empty() && std::ranges::all_of(pod.ips, owned) ? pod.ips : (*fact)->announced;
}

Compiled compile_tables(const model::Snapshot& snapshot, const NetnsFacts& facts, const Options& options,
                        NamespaceIds& ids) {
  Compiled out;
  for (const auto& [id, pod] : snapshot.pods) {
    if (pod.node_name.empty() || pod.node_name != options.node_name) continue;
    const auto wish = decide_wish(pod, find_namespace(snapshot, id.ns), options);
    const auto* fact = find_fact(facts, id);

    auto& status = out.pods.emplace_back();
    status.id = id;
    status.ips = addresses_of(pod, fact);
    status.account = {id.ns, pod.service_account};
    status.identity = spiffe_id(options.trust_domain, id.ns, pod.service_account);
    if (fact != nullptr && *fact) {
      status.netns_cookie = (*fact)->cookie;
      status.netns_path = (*fact)->path;
    }
    status.workload = learn::workload_of(pod);
    status.asks_auto = wish.short_circuit.value == model::ShortCircuit::kAuto;
    const auto mode = decide_mode(wish.short_circuit, status.workload, options);
    status.short_circuit = mode.value;
    status.short_circuit_reason = mode.origin;
    status.peers = wish.peers.value;
    status.capture = wish.capture.value == model::Capture::kAlways;
    status.capture_reason = wish.capture.origin;
    if (wish.local_mtls.value == model::LocalMtls::kRequired) status.local_mtls = wish.local_mtls.origin;
    if (!wish.mesh) {
      status.reason = wish.why_not;
      continue;
    }
    auto obstacle = find_obstacle(pod, fact, options);
    if (!obstacle) obstacle = find_rival(status, out.tables);
    if (obstacle) {
      status.refused = true;
      status.reason = std::move(*obstacle);
      continue;
    }
    status.enrolled = true;
    auto& row = out.tables.pods[status.netns_cookie] = make_row(status, wish, ids.id_of(id.ns));
    for (const auto& ip : status.ips) out.tables.ips[ip] = status.netns_cookie;
    for (const auto& port : excluded_of(pod, status)) {
      row.excludes = 1;
      out.tables.excluded.insert(port);
    }
  }
  for (const auto& pod : out.pods)
    if (!pod.enrolled && pod.netns_cookie != 0 && !out.tables.pods.contains(pod.netns_cookie))
      out.tables.known.insert(pod.netns_cookie);
  return out;
}

}  // namespace underpass::compile
