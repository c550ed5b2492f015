// SPDX-License-Identifier: Apache-2.0
// What the agent knows, as the JSON that third parties rely on. Pure functions: fields may be added here, none renamed.
// Ids and cookies are strings (they do not fit a JSON number), times RFC 3339, and what is absent is null.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/admin/detached_marker.h"
#include "agent/admin/wall_clock.h"
#include "agent/compile/compile.h"
#include "agent/compile/remotes.h"
#include "agent/dataplane/connection.h"
#include "agent/dataplane/detach.h"
#include "agent/dataplane/probe.h"
#include "agent/learn/workloads.h"
#include "underpass/ids.h"
#include "underpass/ip_address.h"

namespace underpass::admin {

struct StatusInfo {
  enum class State {
    kReady,
    kDegraded,  // serves, with something missing: see reasons
    kStale,     // serves the last configuration it could read, since stale_since
  };
  std::string node;
  std::string version;
  State state = State::kReady;
  std::vector<std::string> reasons;  // why not ready
  std::optional<WallTime> stale_since;
  std::optional<int> deny_errno;  // what a denied connect() returns on this kernel; absent: nothing denies yet
  std::string metrics_listen;     // "0.0.0.0:15020"; empty: not served
  std::string ready_listen;
  std::vector<dataplane::Capability> capabilities;
  std::uint64_t pods_enrolled = 0;
  std::uint64_t pods_refused = 0;
  DetachedMarker detached;
  std::uint64_t memory_used = 0;   // of the short-circuit queues, in bytes: tokens out of the node's pool
  std::uint64_t memory_limit = 0;  // --node-budget
};

boost::json::object status_view(const StatusInfo& status);

boost::json::array capabilities_view(std::span<const dataplane::Capability> capabilities);

// `learned` says how far learning has come where it is under way.
boost::json::array pods_view(std::span<const compile::PodStatus> pods, const learn::Workloads& learned);

// {workload: {namespace, owner, images}, was: "learning" | "on" | "off", pods: ["namespace/name"]}
boost::json::object relearn_view(const learn::Workload& workload, const learn::Verdict& was,
                                 std::span<const compile::PodStatus> pods);

// Who is at the end of a connection. Keeps pointers into `pods` and `remotes`, which must live as long.
class PodIndex {
 public:
  explicit PodIndex(std::span<const compile::PodStatus> pods, const compile::RemoteCompiler* remotes = nullptr);

  // By the netns where the kernel attests one. An address alone names a pod too, but proves nothing.
  [[nodiscard]] const compile::PodStatus* find(NetnsCookie cookie) const;
  [[nodiscard]] const compile::PodStatus* find(const IpAddress& address) const;
  // Of another node.
  struct Remote {
    NamespacedName pod;
    std::string identity;
  };
  [[nodiscard]] std::optional<Remote> find_remote(const IpAddress& address) const;

 private:
  const compile::RemoteCompiler* remotes_;
  std::map<NetnsCookie, const compile::PodStatus*> by_cookie_;
  std::map<IpAddress, const compile::PodStatus*> by_address_;  // nullptr: several pods claim it
};

// "namespace/name:port" of a number in the maps (up_service.id); empty: not known (any more).
using ServiceName = std::function<std::string(std::uint32_t id)>;

// "10.0.0.7:80", "[fd00::7]:80"
std::string endpoint_text(const IpAddress& ip, std::uint16_t port);

// {ip, port, namespace, pod, identity}. The identity is there only where the kernel attests the netns, or a tunnel's
// certificate a pod of another node.
boost::json::object end_view(const IpAddress& ip, std::uint16_t port, NetnsCookie netns, const PodIndex& pods,
                             bool tunnelled = false);

// "namespace/name:port" or null; null without a `service_name` too.
boost::json::value service_view(std::uint32_t service, const ServiceName& service_name);
// What the application dialled, where that was a Service; else null.
boost::json::value dialled_view(std::uint32_t service, const up_addr& dialled, __be16 port);

// One row a connection: those that a worker makes to carry another, and tunnels, are left out. Of what came through one
// from another node that to the application is told, with the client that the tunnel brought.
boost::json::array connections_view(std::span<const dataplane::Connection> connections, const PodIndex& pods,
                                    ClockOffset clock, const ServiceName& service_name = {});

// {cut: [{id, description}], removed: [pin]}
boost::json::object detach_view(const dataplane::DetachResult& result);

}  // namespace underpass::admin
