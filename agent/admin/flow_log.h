// SPDX-License-Identifier: Apache-2.0
// The last connections that began, ended or were refused, numbered as BPF told them, and requests among them as workers
// told them. A reader asks for what came since
// a number and learns the next one, and how many were forgotten before it asked: nobody's slowness costs the agent
// memory.
#pragma once

#include <boost/json/object.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <string>
#include <string_view>
#include <variant>

#include "agent/admin/protocol.h"
#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"
#include "underpass/abi.h"
#include "underpass/request_flow.h"

namespace underpass::admin {

class FlowLog {
 public:
  static constexpr std::size_t kCapacity = 4096;

  explicit FlowLog(std::size_t capacity = kCapacity) : capacity_(capacity) {}

  // `policy`: who denied it, as text; what that was may be gone when somebody looks.
  void add(const up_flow& flow, std::string policy = "");
  // Of a worker that may speak of it.
  void add(RequestFlow flow);

  // {flows: [...], next, lost}: the flows from number `since` on, the number to ask for next, and how many of those
  // asked for are forgotten. 0, or a number that was never given (of an agent before this one): all that are kept.
  [[nodiscard]] boost::json::object view(std::uint64_t since, const PodIndex& pods, ClockOffset clock,
                                         const ServiceName& service_name) const;

 private:
  struct ConnectionFlow {
    up_flow flow;
    std::string policy;
  };
  using Flow = std::variant<ConnectionFlow, RequestFlow>;

  void keep(Flow flow);

  std::size_t capacity_;
  std::deque<Flow> flows_;
  std::uint64_t first_ = 1;  // number of flows_.front()
};

// {seq, time, kind: "connection", event: "opened" | "closed" | "refused" | "denied", id, protocol, way, tunnel, source:
// {ip, port, namespace, pod, identity}, destination: {..., service}, dialled, bytesSent, bytesReceived, durationMs,
// fallbackReason, verdict: "allow" | "deny", policy, side: "client" | "server"}. What is not known of a refused or
// denied flow is null. `policy` and `side` are of a denied one: "AuthorizationPolicy shop/web rules[0].from[1]";
// client: connect() was refused, server: its SYN was.
boost::json::object flow_view(std::uint64_t seq, const up_flow& flow, std::string_view policy, const PodIndex& pods,
                              ClockOffset clock, const ServiceName& service_name);

// {seq, time, kind: "request", event: "request" | "denied", and, as above: id: null, protocol, way, source,
// destination, dialled, bytesSent, bytesReceived, durationMs, fallbackReason: null, verdict, policy, side}, and besides
// {method, authority, path, code, grpcStatus, flags, details, upstreamServiceMs, requestId}. `time` is when it came;
// `side` says whose worker told it.
boost::json::object request_view(std::uint64_t seq, const RequestFlow& flow, const PodIndex& pods,
                                 const ServiceName& service_name);

// Arguments of `flows`: {"since": number}, 0 where it is not given, and {"follow": true} of somebody who will ask
// again.
boost::json::object encode_flows(std::uint64_t since, bool follow = false);
bool decode_follow(const boost::json::object& request);
std::expected<std::uint64_t, CommandError> decode_flows(const boost::json::object& request);

}  // namespace underpass::admin
