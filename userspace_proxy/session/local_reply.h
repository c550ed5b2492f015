// SPDX-License-Identifier: Apache-2.0
// Answers that a worker gives itself, in Envoy's words, which clients and dashboards know; to gRPC as an answer without
// a body that has gRPC's own status ("Trailers-Only", gRPC over HTTP/2).
#pragma once

#include <string_view>

#include "userspace_proxy/http/message.h"
#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::session {

[[nodiscard]] bool is_grpc(const http::Request& request);
// Of a head or trailers; -1: none.
[[nodiscard]] int grpc_status_of(const http::Fields& fields);

// What a request that ended so is answered with.
[[nodiscard]] unsigned status_of(telemetry::RequestFlag flag);
[[nodiscard]] std::string_view body_of(telemetry::RequestFlag flag);

// Makes of `response` one that tells gRPC its status and `message`; returns the status.
int to_grpc(http::Response& response, std::string_view message);

}  // namespace underpass::session
