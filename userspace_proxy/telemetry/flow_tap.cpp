// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/telemetry/flow_tap.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

#include "userspace_proxy/log/text.h"
#include "userspace_proxy/telemetry/request_line.h"

namespace underpass::telemetry {
namespace {

std::uint64_t micros_of(std::chrono::microseconds time) {
  return static_cast<std::uint64_t>(std::max<std::chrono::microseconds::rep>(time.count(), 0));
}

RequestFlow flow_of(const RequestRecord& request) {
  static const session::Record kNobody;
  const auto& connection = request.connection == nullptr ? kNobody : *request.connection;
  const auto text = [](std::string_view from, std::size_t most = kMostFlowText) { return log::clean(from, most); };
  return {.started_us = micros_of(std::chrono::floor<std::chrono::microseconds>(request.start.time_since_epoch())),
          .duration_us = micros_of(request.duration),
          .upstream_us = micros_of(request.upstream_service),
          .client = connection.client_netns,
          .server = connection.server_netns,
          .service = connection.service,
          .client_ip = IpAddress(connection.client),
          .server_ip = IpAddress(connection.server),
          .dialled_ip = IpAddress(connection.dialled),
          .client_port = ntohs(connection.client_port),
          .server_port = ntohs(connection.server_port),
          .dialled_port = ntohs(connection.dialled_port),
          .inbound = connection.inbound,
          .protocol = std::string(protocol_of(request)),
          .method = text(request.method),
          .authority = text(request.authority),
          .path = text(request.path, kMostFlowPath),
          .code = static_cast<std::uint16_t>(std::min(request.status, 999U)),
          .grpc_status = static_cast<std::int16_t>(std::clamp(request.grpc_status, -1, 999)),
          .flag = request.flag,
          .details = text(request.details),
          .policy = text(request.policy),
          .request_bytes = request.request_bytes,
          .response_bytes = request.response_bytes,
          .request_id = text(request.request_id)};
}

}  // namespace

void FlowTap::add(const RequestRecord& request) {
  const bool denied = is_denial(request.flag);
  if (!denied && !follows_) return;
  auto& count = denied ? denied_ : others_;
  if (count >= (denied ? kMostDenied : kMostOthers)) {
    ++kept_.skipped;
    return;
  }
  ++count;
  kept_.flows.push_back(flow_of(request));
}

RequestFlows FlowTap::take() {
  denied_ = others_ = 0;
  return std::exchange(kept_, {});
}

}  // namespace underpass::telemetry
