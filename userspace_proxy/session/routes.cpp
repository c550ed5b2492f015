// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/routes.h"

#include <utility>

namespace underpass::session {
namespace {

http::Limits limits_of(const HttpSettings& settings) {
  return {.max_head_bytes = settings.max_request_headers_bytes,
          .max_fields = settings.max_request_headers,
          .max_streams = settings.max_concurrent_streams,
          .stream_window = settings.stream_window_bytes,
          .connection_window = settings.connection_window_bytes,
          .underscores = settings.headers_with_underscores};
}

}  // namespace

Routes::Routes(RoutingTable table, tls::Identities identities)
    : table_(std::move(table)), identities_(std::move(identities)), limits_(limits_of(table_.settings.http)) {
  for (const auto& pod : table_.pods) pods_.emplace(pod.netns, &pod);
  for (const auto& set : table_.policy_sets) policing_.push_back(std::make_unique<const HttpPolicing>(set, table_));
}

}  // namespace underpass::session
