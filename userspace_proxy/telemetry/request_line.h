// SPDX-License-Identifier: Apache-2.0
// A request's line in the access log: one JSON object, what is not known is null. Fields: docs/proxy.md, "Access log".
// What clients sent is cut and made valid, so that whatever it is, the line is one line and JSON.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "userspace_proxy/telemetry/request_record.h"

namespace underpass::telemetry {

inline constexpr std::size_t kMostPath = 2048;  // bytes of it in the log
inline constexpr std::size_t kMostText = 512;   // ... and of each other text

// Appends the line, with its line feed.
void append_request_line(std::string& out, const RequestRecord& request);

// "http/1.0", "http/1.1", "h2", and for gRPC, which is always HTTP/2, "grpc".
std::string_view protocol_of(const RequestRecord& request);

}  // namespace underpass::telemetry
