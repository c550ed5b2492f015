// SPDX-License-Identifier: Apache-2.0
// What the agent and a worker say to each other, over a unix socket of type SOCK_SEQPACKET: one JSON object a packet,
// descriptors beside it (SCM_RIGHTS). The worker has the listening end of <run-dir>/workers/NAME.sock, so that an agent
// that comes later finds it; whoever connects last is its agent.
//
// The agent believes nothing that a worker says about others: descriptors that come back are compared with what is in
// the maps, counts are only counts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "underpass/abi.h"
#include "underpass/ids.h"
#include "underpass/policy_notice.h"
#include "underpass/request_flow.h"
#include "underpass/request_series.h"

namespace underpass::worker {

inline constexpr std::uint64_t kProtocol = 3;
inline constexpr std::size_t kMaxPacket = 64 * 1024;
inline constexpr std::size_t kMaxDescriptors = 250;  // SCM_MAX_FD is 253

// What a worker's control group lets it have. Near that it takes no new requests, so that those under way live on.
inline constexpr std::uint64_t kMemoryLimit = 512ull << 20;
inline constexpr std::uint64_t kMemoryShort = kMemoryLimit / 4 * 3;

// Numbers of the descriptors that a worker starts with, beside 0 (/dev/null), 1 (access log) and 2 (log).
inline constexpr int kControlListenerFd = 3;  // bound, not listening yet: so SO_PEERCRED of it is the worker
inline constexpr int kFirstAgentFd = 4;       // the connection to the agent that started it

// A listening socket in a pod's network namespace. Shared with the agent, which keeps a copy, so what is queued
// outlives the worker.
struct Listener {
  up_direction direction = UP_OUTBOUND;
  bool v6 = false;

  auto operator<=>(const Listener&) const = default;
};

// --- from the agent -------------------------------------------------------------------------------------------------

// With one descriptor: a memfd, sealed against everything, of `size` bytes of JSON (routing_table_json.h).
struct Config {
  std::uint64_t revision = 0;
  std::uint64_t size = 0;
};
// With a descriptor for each listener, in this order. The pod is in the routing table that came before.
struct Listeners {
  NetnsCookie netns = 0;
  std::vector<Listener> listeners;
};
// With the sockets: unconnected TCP sockets in the pod's network namespace, non-blocking, TCP_NODELAY and keepalive
// set.
struct Dials {
  NetnsCookie netns = 0;
  bool v6 = false;
};
// The pod is not this worker's any more: close its listeners and dials. Its connections may end (drain), or are reset.
struct Forget {
  NetnsCookie netns = 0;
  bool reset = false;
};
// Accept nothing more, let connections end, reset what is left after drain_timeout, and exit with 0.
struct Drain {};
// With two descriptors that take the places of 1 and 2: those of an agent that adopted the worker.
struct Logs {};
// Somebody follows flows, or does no more: then requests are told as Requests, otherwise only those that were denied.
struct FollowRequests {
  bool on = false;
};

// --- from the worker ------------------------------------------------------------------------------------------------

// The first packet on each connection; then a Listeners packet, with the descriptors, for each pod that it has some of;
// then Ready.
struct Hello {
  std::string version;  // UNDERPASS_VERSION
  std::uint64_t protocol = kProtocol;
  std::uint64_t revision = 0;  // of the routing table in force, 0: none
};
struct Ready {};
// An answer to Config. `cause` is empty where the table is in force.
struct Configured {
  std::uint64_t revision = 0;
  std::string cause;
};
// More dial sockets, please.
struct Want {
  NetnsCookie netns = 0;
  bool v6 = false;
  std::uint64_t count = 0;
};
// Every second, and when it is asked to drain.
struct Report {
  std::uint64_t connections = 0;                                         // that are open now
  std::uint64_t accepted = 0;                                            // since it started, and so below
  std::map<std::string, std::uint64_t> ended;                            // by flag of the access log; "-": as it should
  std::uint64_t accept_pauses = 0;                                       // how often descriptors ran short
  bool paused = false;                                                   // they are short now
  std::uint64_t log_lines_lost = 0;                                      // nobody took them
  std::map<NetnsCookie, std::pair<std::uint64_t, std::uint64_t>> dials;  // sockets that are left: IPv4, IPv6
};
// Every second where requests ended: what came since the packet before, in as many packets as it needs, so that what
// an agent has heard of is counted once, whatever becomes of the worker. Of what pods a worker may speak, the agent
// knows.
struct Metrics {
  std::vector<RequestSeries> series;       // at most kSeriesPerPacket
  std::vector<PolicyNoticeCount> notices;  // at most kNoticesPerPacket
};
// As often, where there are some.
struct Requests {
  std::vector<RequestFlow> flows;  // at most kFlowsPerPacket
  std::uint64_t skipped = 0;       // more than a worker keeps, since the packet before
};

using Message = std::variant<Config, Listeners, Dials, Forget, Drain, Logs, Hello, Ready, Configured, Want, Report,
                             FollowRequests, Metrics, Requests>;

}  // namespace underpass::worker
