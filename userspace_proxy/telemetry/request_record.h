// SPDX-License-Identifier: Apache-2.0
// What is kept of a request until it has ended: what its line in the access log, its metrics and its flow tell. Filled
// in by the session; telemetry only reads it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/request_flag.h"
#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/http/message.h"
#include "userspace_proxy/session/record.h"

namespace underpass::telemetry {

using underpass::RequestFlag;

struct RequestRecord {
  std::chrono::system_clock::time_point start;
  std::chrono::microseconds duration{};          // to the answer's last byte
  std::chrono::microseconds upstream_service{};  // from the request's last byte sent to the answer's head; 0: none came
  const session::Record* connection = nullptr;   // who, to whom
  std::string method;
  std::string authority;
  std::string path;  // with the query, as it was forwarded
  http::Version version = http::Version::kHttp11;
  bool grpc = false;
  unsigned status = 0;   // 0: none was sent
  int grpc_status = -1;  // of trailers or of a head alone; -1: none
  RequestFlag flag = RequestFlag::kNone;
  std::string details;              // "rbac_access_denied_matched_policy[shop/deny-all rule 0]"; empty: nothing to say
  std::string policy;               // that decided; empty: none
  std::uint64_t request_bytes = 0;  // bodies
  std::uint64_t response_bytes = 0;
  std::string request_id;  // x-request-id
  std::string trace_id;    // 32 hex digits; empty: none
  std::string user_agent;
  std::vector<authz::Notice> notices;  // of policies that only tell
  bool inbound_reported = false;       // the worker serves the server's pod: reporter="destination"
  bool outbound_reported = false;      // ... the client's: reporter="source"; both may be
};

}  // namespace underpass::telemetry
