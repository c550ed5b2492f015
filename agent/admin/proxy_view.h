// SPDX-License-Identifier: Apache-2.0
// The worker of a pod and what it was given: `underpassctl proxy config`. Pure; as views.h.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/admin/protocol.h"
#include "agent/admin/wall_clock.h"
#include "agent/compile/compile.h"
#include "underpass/abi.h"
#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/routing_table.h"

namespace underpass::admin {

struct ProxyConfigInfo {
  enum class State {
    kStarting,
    kReady,
    kBackingOff,  // it failed, and is started again after a pause
    kDraining,
  };
  struct Listener {
    up_direction direction = UP_OUTBOUND;
    IpAddress address;
    std::uint16_t port = 0;
  };
  NamespacedName pod;
  std::string capture_reason;  // PodStatus.capture_reason
  std::string worker;          // its name
  State state = State::kStarting;
  std::optional<WallTime> since;  // in that state
  std::string problem;            // of the last start or configuration; empty: none
  int pid = 0;                    // 0: it is not running
  std::string version;            // as it says itself; empty: not known yet
  std::uint64_t restarts = 0;
  std::string cgroup;               // empty: none
  std::vector<Listener> listeners;  // in the pod's network namespace
  std::uint64_t dials4 = 0;         // sockets for dials from the pod that the worker has left
  std::uint64_t dials6 = 0;
  RoutingTable table;  // that it was given last
};

// {namespace, pod, captureReason, worker: {name, state: "starting" | "ready" | "backing-off" | "draining", since,
// problem, pid, version, restarts, cgroup}, listeners: [{direction: "outbound" | "inbound", family: "IPv4" | "IPv6",
// address, port}], dialSockets: {ipv4, ipv6}, config: {revision, threads, connectTimeoutMs, idleTimeoutMs,
// drainTimeoutMs, pods: [{namespace, name, netnsCookie, identity}], identities: [{number, identity}]}}
boost::json::object proxy_config_view(const ProxyConfigInfo& info);

// The pod that `proxy-config` asks about; not found: no such pod of this node, or why no worker serves it.
std::expected<const compile::PodStatus*, CommandError> find_captured(std::span<const compile::PodStatus> pods,
                                                                     const NamespacedName& id);

}  // namespace underpass::admin
