// SPDX-License-Identifier: Apache-2.0
// The last connections that began, ended or were refused, numbered as BPF told them. A reader asks for what came since
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

#include "agent/admin/protocol.h"
#include "agent/admin/views.h"
#include "agent/admin/wall_clock.h"
#include "underpass/abi.h"

namespace underpass::admin {

class FlowLog {
 public:
  static constexpr std::size_t kCapacity = 4096;

  explicit FlowLog(std::size_t capacity = kCapacity) : capacity_(capacity) {}

  // `policy`: who denied it, as text; what that was may be gone when somebody looks.
  void add(const up_flow& flow, std::string policy = "");

  // {flows: [...], next, lost}: the flows from number `since` on, the number to ask for next, and how many of those
  // asked for are forgotten. 0, or a number that was never given (of an agent before this one): all that are kept.
  [[nodiscard]] boost::json::object view(std::uint64_t since, const PodIndex& pods, ClockOffset clock,
                                         const ServiceName& service_name) const;

 private:
  struct Flow {
    up_flow flow;
    std::string policy;
  };

  std::size_t capacity_;
  std::deque<Flow> flows_;
  std::uint64_t first_ = 1;  // number of flows_.front()
};

// {seq, time, event: "opened" | "closed" | "refused" | "denied", id, protocol, way, source: {ip, port, namespace, pod,
// identity}, destination: {..., service}, dialled, bytesSent, bytesReceived, durationMs, fallbackReason, verdict:
// "allow" | "deny", policy, side: "client" | "server"}. What is not known of a refused or denied flow is null. `policy`
// and `side` are of a denied one: "AuthorizationPolicy shop/web rules[0].from[1]"; client: connect() was refused,
// server: its SYN was.
boost::json::object flow_view(std::uint64_t seq, const up_flow& flow, std::string_view policy, const PodIndex& pods,
                              ClockOffset clock, const ServiceName& service_name);

// Argument of `flows`: {"since": number}, 0 where it is not given.
boost::json::object encode_flows(std::uint64_t since);
std::expected<std::uint64_t, CommandError> decode_flows(const boost::json::object& request);

}  // namespace underpass::admin
