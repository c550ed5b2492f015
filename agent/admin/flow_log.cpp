// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/flow_log.h"

#include <arpa/inet.h>

#include <boost/json/array.hpp>
#include <string>
#include <utility>

#include "underpass/abi_names.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;

json::object end_of(const up_addr& addr, __be16 port, NetnsCookie netns, const PodIndex& pods, bool tunnelled = false) {
  const IpAddress ip(addr);
  json::object end = end_view(ip, ntohs(port), netns, pods, tunnelled);
  if (ip == IpAddress()) end["ip"] = nullptr;
  if (port == 0) end["port"] = nullptr;
  return end;
}

json::value time_of(std::uint64_t time_ns, ClockOffset clock) {
  return time_ns == 0 ? json::value(nullptr) : json::value(to_rfc3339(clock.to_wall(time_ns)));
}

json::value duration_of(const up_flow& flow) {
  if (flow.event != UP_FLOW_CLOSED || flow.started_ns == 0 || flow.time_ns < flow.started_ns) return nullptr;
  return (flow.time_ns - flow.started_ns) / 1'000'000;
}

}  // namespace

json::object flow_view(std::uint64_t seq, const up_flow& flow, std::string_view policy, const PodIndex& pods,
                       ClockOffset clock, const ServiceName& service_name) {
  const bool denied = flow.event == UP_FLOW_DENIED;
  const bool refused = flow.event == UP_FLOW_REFUSED || denied;
  const bool tunnelled = flow.tunnel != UP_TUNNEL_NONE;
  json::object destination = end_of(flow.server, flow.server_port, flow.server_netns, pods, tunnelled);
  destination["service"] = service_view(flow.service, service_name);
  return {
      {"seq", seq},
      {"time", time_of(flow.time_ns, clock)},
      {"kind", "connection"},
      {"event", name_of(flow.event)},
      {"id", flow.id == 0 ? json::value(nullptr) : json::value(std::to_string(flow.id))},
      {"protocol", protocol_name(flow.protocol)},
      {"way", refused ? json::value(nullptr) : json::value(name_of(flow.way))},
      {"tunnel", name_of(static_cast<up_tunnel>(flow.tunnel))},
      {"source", end_of(flow.client, flow.client_port, flow.client_netns, pods, tunnelled)},
      {"destination", std::move(destination)},
      {"dialled", dialled_view(flow.service, flow.dialled, flow.dialled_port)},
      {"bytesSent", flow.sent},
      {"bytesReceived", flow.received},
      {"durationMs", duration_of(flow)},
      {"fallbackReason", refused || flow.why == UP_WHY_NONE ? json::value(nullptr) : json::value(name_of(flow.why))},
      {"verdict", refused ? "deny" : "allow"},
      {"policy", policy.empty() ? json::value(nullptr) : json::value(policy)},
      {"side", denied ? json::value(flow.end == UP_CLIENT ? "client" : "server") : json::value(nullptr)},
  };
}

json::object request_view(std::uint64_t seq, const RequestFlow& flow, const PodIndex& pods,
                          const ServiceName& service_name) {
  const auto or_null = [](const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); };
  const auto end = [&](const IpAddress& ip, std::uint16_t port, NetnsCookie netns) {
    return end_of(ip.to_abi(), htons(port), netns, pods);
  };
  const bool denied = is_denial(flow.flag);
  json::object destination = end(flow.server_ip, flow.server_port, flow.server);
  destination["service"] = service_view(flow.service, service_name);
  return {
      {"seq", seq},
      {"time", to_rfc3339(WallTime(std::chrono::microseconds(flow.started_us)))},
      {"kind", "request"},
      {"event", denied ? "denied" : "request"},
      {"id", nullptr},
      {"protocol", or_null(flow.protocol)},
      {"way", "proxied"},
      {"source", end(flow.client_ip, flow.client_port, flow.client)},
      {"destination", std::move(destination)},
      {"dialled", dialled_view(flow.service, flow.dialled_ip.to_abi(), htons(flow.dialled_port))},
      {"bytesSent", flow.request_bytes},
      {"bytesReceived", flow.response_bytes},
      {"durationMs", static_cast<double>(flow.duration_us) / 1000},
      {"fallbackReason", nullptr},
      {"verdict", denied ? "deny" : "allow"},
      {"policy", or_null(flow.policy)},
      {"side", flow.inbound ? "server" : "client"},
      {"method", or_null(flow.method)},
      {"authority", or_null(flow.authority)},
      {"path", or_null(flow.path)},
      {"code", flow.code == 0 ? json::value(nullptr) : json::value(flow.code)},
      {"grpcStatus", flow.grpc_status < 0 ? json::value(nullptr) : json::value(flow.grpc_status)},
      {"flags", json::string(name_of(flow.flag))},
      {"details", or_null(flow.details)},
      {"upstreamServiceMs",
       flow.upstream_us == 0 ? json::value(nullptr) : json::value(static_cast<double>(flow.upstream_us) / 1000)},
      {"requestId", or_null(flow.request_id)},
  };
}

void FlowLog::add(const up_flow& flow, std::string policy) {
  keep(ConnectionFlow{.flow = flow, .policy = std::move(policy)});
}

void FlowLog::add(RequestFlow flow) { keep(std::move(flow)); }

void FlowLog::keep(Flow flow) {
  flows_.push_back(std::move(flow));
  while (flows_.size() > capacity_) {
    flows_.pop_front();
    ++first_;
  }
}

json::object FlowLog::view(std::uint64_t since, const PodIndex& pods, ClockOffset clock,
                           const ServiceName& service_name) const {
  const std::uint64_t next = first_ + flows_.size();
  if (since == 0 || since > next) since = first_;
  const std::uint64_t lost = since < first_ ? first_ - since : 0;
  json::array flows;
  for (std::uint64_t seq = since + lost; seq < next; ++seq) {
    const Flow& flow = flows_[seq - first_];
    if (const auto* request = std::get_if<RequestFlow>(&flow))
      flows.emplace_back(request_view(seq, *request, pods, service_name));
    else if (const auto* connection = std::get_if<ConnectionFlow>(&flow))
      flows.emplace_back(flow_view(seq, connection->flow, connection->policy, pods, clock, service_name));
  }
  return {{"flows", std::move(flows)}, {"next", next}, {"lost", lost}};
}

json::object encode_flows(std::uint64_t since, bool follow) {
  json::object out{{"command", "flows"}, {"since", since}};
  if (follow) out["follow"] = true;
  return out;
}

bool decode_follow(const json::object& request) {
  const json::value* follow = request.if_contains("follow");
  return follow != nullptr && follow->is_bool() && follow->get_bool();
}

std::expected<std::uint64_t, CommandError> decode_flows(const json::object& request) {
  const json::value* since = request.if_contains("since");
  if (since == nullptr || since->is_null()) return 0;
  json::error_code error;
  const auto number = since->to_number<std::uint64_t>(error);
  if (error) return refuse(ErrorCode::kUsage, "since: not a number of a flow");
  return number;
}

}  // namespace underpass::admin
