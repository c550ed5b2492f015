// SPDX-License-Identifier: Apache-2.0
// Which pods are reached through a tunnel, for map up_remotes: enrolled pods of other nodes (claims.h), and those of
// this one that ask for it (underpass.dev/local-mtls: required). And which pods of this node need a worker for it.
// Pure.
//
// A tunnel is a matter of a port: PeerAuthentication DISABLE, and what the pod keeps out of the mesh
// (exclude-inbound-ports), leave a port to plain TCP. An update costs what the pods cost that changed.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "agent/compile/claims.h"
#include "agent/compile/compile.h"
#include "agent/compile/policy_rows.h"
#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/model/objects.h"

namespace underpass::compile {

// Port 0: every port that has no row of its own. Host order.
struct RemoteKey {
  IpAddress ip;
  std::uint16_t port = 0;

  auto operator<=>(const RemoteKey&) const = default;
};

struct Remote {
  NamespacedName pod;
  std::uint32_t identity = 0;
  std::uint32_t workload = 0;
  model::Tunnel tunnel = model::Tunnel::kNone;

  bool operator==(const Remote&) const = default;
};

using Remotes = std::map<RemoteKey, Remote>;

// The pods that metrics count together.
struct RemoteWorkload {
  NamespacedName account;
  std::string owner;  // "Deployment/web"
  std::string app;    // label app
  std::string version;

  auto operator<=>(const RemoteWorkload&) const = default;
};

up_remote to_abi(const Remote& remote);

class RemoteCompiler {
 public:
  struct Update {
    bool everything = false;   // the rest says nothing
    std::set<RemoteKey> rows;  // that are new, others than before, or gone

    [[nodiscard]] bool empty() const { return !everything && rows.empty(); }
  };

  // Marks those of `compiled` that need tunnels: so PolicyCompiler and WorkerPlanner come after it.
  Update update(const model::Snapshot& snapshot, const model::Changes& changes, const std::string& node_name,
                Compiled& compiled, IdentityNumbers& numbers);

  // Before the first update; see Claims.
  void adopt(std::map<NamespacedName, std::set<IpAddress>> pods) { words_.adopt(std::move(pods)); }
  [[nodiscard]] const Remotes& remotes() const { return remotes_; }
  // Of a row; null: none has it (any more).
  [[nodiscard]] const RemoteWorkload* find_workload(std::uint32_t number) const;
  // Whose address this is; null: no row has it.
  [[nodiscard]] const Remote* find(const IpAddress& ip) const;
  [[nodiscard]] const std::string& identity_of(const Remote& remote) const;

 private:
  // What a pod asks for.
  struct Wanted {
    std::vector<IpAddress> ips;
    Remote row;                             // of all ports
    std::map<std::uint16_t, Remote> ports;  // of those that differ
    bool far = false;                       // of another node
    std::string identity;
    RemoteWorkload workload;

    bool operator==(const Wanted&) const = default;
  };

  struct Counted {
    std::string text;
    std::size_t pods = 0;
  };

  Wanted want(const model::Pod& pod, bool far, IdentityNumbers& numbers);
  void put(const NamespacedName& pod, std::optional<Wanted> wanted, std::set<IpAddress>& touched);
  void settle(const IpAddress& ip, const Tables& tables, Update& update);
  [[nodiscard]] std::uint32_t number_of(const RemoteWorkload& workload) const;
  void mark(Compiled& compiled) const;

  PolicyInput input_;  // of which nothing but Mesh and PeerAuthentications is filled in
  std::map<NamespacedName, Wanted> wanted_;
  std::map<IpAddress, std::set<NamespacedName>> claims_;
  Claims words_;
  std::set<NamespacedName> foreign_;      // of other nodes and in the mesh, whether they are reached by a tunnel or not
  std::set<NamespacedName> far_;          // of wanted_, those of other nodes
  std::set<NamespacedName> near_;         // ... and of this one
  std::map<IpAddress, NetnsCookie> ips_;  // of this node's pods
  std::map<std::uint32_t, Counted> identities_;
  std::map<std::uint32_t, std::pair<RemoteWorkload, std::size_t>> workloads_;
  Remotes remotes_;
  bool fresh_ = true;
};

// As sorted text: what golden files hold.
std::string to_text(const Remotes& remotes);

}  // namespace underpass::compile
