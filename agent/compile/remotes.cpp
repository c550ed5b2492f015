// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/remotes.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>

#include "agent/compile/enrolment.h"
#include "agent/compile/mtls_levels.h"

namespace underpass::compile {
namespace {

using model::MtlsMode;
using model::Tunnel;

template <std::size_t kSize>
void copy_name(char (&out)[kSize], std::string_view name) {
  assert(name.size() < kSize && "the decoders let no longer name pass");
  std::memcpy(out, name.data(), name.size());
}

const model::Namespace* find_namespace(const model::Snapshot& snapshot, const std::string& name) {
  const auto found = snapshot.namespaces.find(name);
  return found == snapshot.namespaces.end() ? nullptr : &found->second;
}

bool is_node_out(const model::Snapshot& snapshot, const std::string& node) {
  const auto found = snapshot.nodes.find(node);
  return found != snapshot.nodes.end() && !found->second.mesh.value_or(true);
}

// A pod of another node that is in the mesh, as far as the API's objects tell.
bool is_foreign(const model::Pod& pod, const model::Snapshot& snapshot, const std::string& node_name) {
  if (pod.node_name.empty() || pod.node_name == node_name || is_node_out(snapshot, pod.node_name)) return false;
  if (pod.terminated || pod.host_network || pod.other_mesh || pod.ips.empty()) return false;
  if (!std::ranges::all_of(pod.ips, is_usable)) return false;
  return is_wanted_in_mesh(pod, find_namespace(snapshot, pod.id.ns));
}

std::string label(const model::Pod& pod, const char* name) {
  const auto found = pod.labels.find(name);
  return found == pod.labels.end() ? "" : found->second;
}

RemoteWorkload workload_of(const model::Pod& pod) {
  return {.account = {pod.id.ns, pod.service_account},
          .owner = pod.owner,
          .app = label(pod, "app"),
          .version = label(pod, "version")};
}

Tunnel tunnel_of(MtlsMode mode) { return mode == MtlsMode::kDisable ? Tunnel::kNone : Tunnel::kHbone; }

}  // namespace

up_remote to_abi(const Remote& remote) {
  up_remote out{};
  out.identity = remote.identity;
  out.tunnel = remote.tunnel == Tunnel::kHbone ? UP_TUNNEL_HBONE : UP_TUNNEL_NONE;
  out.workload = remote.workload;
  copy_name(out.namespace_name, remote.pod.ns);
  copy_name(out.name, remote.pod.name);
  return out;
}

// FNV-1a of what it is, so that a number means the same to the next agent too; the next one up where another has it.
std::uint32_t RemoteCompiler::number_of(const RemoteWorkload& workload) const {
  std::uint32_t hash = 2166136261u;
  for (const auto* text :
       {&workload.account.ns, &workload.account.name, &workload.owner, &workload.app, &workload.version}) {
    for (const char c : *text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    hash = (hash ^ 0xffu) * 16777619u;
  }
  for (;; ++hash) {
    if (hash == 0) continue;
    const auto found = workloads_.find(hash);
    if (found == workloads_.end() || found->second.first == workload) return hash;
  }
}

RemoteCompiler::Wanted RemoteCompiler::want(const model::Pod& pod, bool far, IdentityNumbers& numbers) {
  Wanted out{
      .ips = pod.ips, .row = {.pod = pod.id}, .ports = {}, .far = far, .identity = "", .workload = workload_of(pod)};
  out.identity = spiffe_id(input_.mesh.trust_domain, pod.id.ns, pod.service_account);
  out.row.identity = numbers.number_of({.kind = Identity::Kind::kAccount, .account = out.workload.account});
  out.row.workload = number_of(out.workload);
  const auto levels = find_mtls_levels(
      input_, {.pod = pod.id, .labels = pod.labels, .ips = {}, .probe_ports = {}, .excluded_ports = {}});
  const auto* level = levels.innermost();
  out.row.tunnel = tunnel_of(level == nullptr ? MtlsMode::kUnset : level->mode);
  const auto put = [&](std::uint16_t port, Tunnel tunnel) {
    auto row = out.row;
    row.tunnel = tunnel;
    out.ports[port] = row;
  };
  if (levels.workload != nullptr)
    for (const auto& [port, mode] : levels.workload->port_modes)
      if (mode != MtlsMode::kUnset) put(port, tunnel_of(mode));
  for (const auto port : pod.exclude_inbound_ports) put(port, Tunnel::kNone);
  std::erase_if(out.ports, [&](const auto& entry) { return entry.second == out.row; });
  return out;
}

RemoteCompiler::Update RemoteCompiler::update(const model::Snapshot& snapshot, const model::Changes& changes,
                                              const std::string& node_name, Compiled& compiled,
                                              IdentityNumbers& numbers) {
  Update out{.everything = fresh_, .rows = {}};
  std::set<IpAddress> touched;
  if (fresh_ || changes.everything || changes.policies) {
    input_.mesh = snapshot.mesh.value_or(model::MeshConfig{});
    input_.peer_authentications.clear();
    for (const auto& [id, one] : snapshot.peer_authentications) input_.peer_authentications.push_back(one);
  }
  const auto claimed = words_.update(snapshot, fresh_ ? model::Changes{.everything = true} : changes);
  const auto look = [&](const NamespacedName& id) {
    const auto pod = snapshot.pods.find(id);
    const bool foreign = pod != snapshot.pods.end() && is_foreign(pod->second, snapshot, node_name);
    if (foreign) {
      foreign_.insert(id);
    } else {
      foreign_.erase(id);
      words_.forget(id);
    }
    const bool far = foreign && (pod->second.tunnel_by_label || words_.speaks(pod->second));
    if (far)
      put(id, want(pod->second, true, numbers), touched);
    else if (far_.contains(id))
      put(id, std::nullopt, touched);
  };
  if (fresh_ || changes.everything || changes.policies || changes.namespaces || changes.nodes) {
    for (const auto& id : std::set<NamespacedName>(foreign_))
      if (!snapshot.pods.contains(id)) look(id);
    for (const auto& [id, pod] : snapshot.pods) look(id);
  } else {
    for (const auto& id : changes.pods) look(id);
    for (const auto& id : claimed) look(id);
  }

  // Those of this node are few, and what became of them depends on more than their objects.
  std::set<NamespacedName> near;
  for (const auto& status : compiled.pods) {
    if (!status.enrolled || status.local_mtls.empty()) continue;
    near.insert(status.id);
    auto wanted = want(snapshot.pods.at(status.id), false, numbers);
    wanted.ips = status.ips;
    put(status.id, std::move(wanted), touched);
  }
  for (const auto& id : std::set<NamespacedName>(near_))
    if (!near.contains(id)) put(id, std::nullopt, touched);

  if (ips_ != compiled.tables.ips) {
    for (const auto* one : {&ips_, &compiled.tables.ips})
      for (const auto& [ip, cookie] : *one)
        if (claims_.contains(ip)) touched.insert(ip);
    ips_ = compiled.tables.ips;
  }
  for (const auto& ip : touched) settle(ip, compiled.tables, out);
  for (const auto& [number, identity] : identities_) compiled.remote_identities.emplace(number, identity.text);
  mark(compiled);
  fresh_ = false;
  return out;
}

// What the pod asks for from now on.
void RemoteCompiler::put(const NamespacedName& pod, std::optional<Wanted> wanted, std::set<IpAddress>& touched) {
  const auto before = wanted_.find(pod);
  if (before != wanted_.end()) {
    if (wanted && *wanted == before->second) return;
    for (const auto& ip : before->second.ips) {
      touched.insert(ip);
      const auto claim = claims_.find(ip);
      claim->second.erase(pod);
      if (claim->second.empty()) claims_.erase(claim);
    }
    const auto& row = before->second.row;
    if (--identities_.at(row.identity).pods == 0) identities_.erase(row.identity);
    if (--workloads_.at(row.workload).second == 0) workloads_.erase(row.workload);
    (before->second.far ? far_ : near_).erase(pod);
    wanted_.erase(before);
  }
  if (!wanted) return;
  for (const auto& ip : wanted->ips) {
    touched.insert(ip);
    claims_[ip].insert(pod);
  }
  auto& identity = identities_[wanted->row.identity];
  identity.text = wanted->identity;
  ++identity.pods;
  auto& workload = workloads_[wanted->row.workload];
  workload.first = wanted->workload;
  ++workload.second;
  (wanted->far ? far_ : near_).insert(pod);
  wanted_.emplace(pod, std::move(*wanted));
}

// The rows of an address: those of the pod that comes first by name, of those that claim it. A pod of this node that
// has it is not another's.
void RemoteCompiler::settle(const IpAddress& ip, const Tables& tables, Update& update) {
  Remotes now;
  const bool own = tables.ips.contains(ip);
  if (const auto claim = claims_.find(ip); claim != claims_.end()) {
    const auto owner =
        std::ranges::find_if(claim->second, [&](const NamespacedName& pod) { return !own || !wanted_.at(pod).far; });
    if (owner != claim->second.end()) {
      const auto& wanted = wanted_.at(*owner);
      now[{.ip = ip, .port = 0}] = wanted.row;
      for (const auto& [port, row] : wanted.ports) now[{.ip = ip, .port = port}] = row;
    }
  }
  auto first = remotes_.lower_bound({.ip = ip, .port = 0});
  while (first != remotes_.end() && first->first.ip == ip) {
    const auto kept = now.find(first->first);
    if (kept == now.end() || kept->second != first->second) {
      update.rows.insert(first->first);
      first = remotes_.erase(first);
    } else {
      now.erase(kept);
      ++first;
    }
  }
  for (auto& [key, row] : now) {
    update.rows.insert(key);
    remotes_[key] = std::move(row);
  }
}

// A pod needs tunnels where there is somebody to have one with: it is reached by one only if it has a worker, too, and
// says that it takes them only when it has.
void RemoteCompiler::mark(Compiled& compiled) const {
  for (auto& status : compiled.pods) {
    if (!status.enrolled) continue;
    std::string why;
    const auto other = std::ranges::find_if(near_, [&](const NamespacedName& pod) { return pod != status.id; });
    if (!foreign_.empty())
      why = "a pod of another node: " + foreign_.begin()->to_string();
    else if (near_.contains(status.id))
      why = "underpass.dev/local-mtls: required, " + status.local_mtls;
    else if (other != near_.end())
      why = "a pod with underpass.dev/local-mtls: required: " + other->to_string();
    if (why.empty()) continue;
    status.tunnels = true;
    compiled.tables.pods.at(status.netns_cookie).capture |= UP_CAPTURE_TUNNEL;
    if (status.capture) continue;
    status.capture = status.tunnel_only = true;
    status.capture_reason = why;
  }
}

const RemoteWorkload* RemoteCompiler::find_workload(std::uint32_t number) const {
  const auto found = workloads_.find(number);
  return found == workloads_.end() ? nullptr : &found->second.first;
}

const Remote* RemoteCompiler::find(const IpAddress& ip) const {
  const auto found = remotes_.find({.ip = ip, .port = 0});
  return found == remotes_.end() ? nullptr : &found->second;
}

const std::string& RemoteCompiler::identity_of(const Remote& remote) const {
  static const std::string kNone;
  const auto found = identities_.find(remote.identity);
  return found == identities_.end() ? kNone : found->second.text;
}

}  // namespace underpass::compile
