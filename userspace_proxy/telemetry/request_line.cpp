// SPDX-License-Identifier: Apache-2.0
// Written by hand, as a connection's line is: it runs once for every request.
#include "userspace_proxy/telemetry/request_line.h"

#include <algorithm>

#include "userspace_proxy/log/ends.h"
#include "userspace_proxy/log/text.h"

namespace underpass::telemetry {
namespace {

using log::append_number;

void append_text(std::string& out, std::string_view key, std::string_view text, std::size_t most = kMostText) {
  log::append_name(out, key, log::cut(text, most));
}

void append_time_taken(std::string& out, std::string_view key, std::chrono::microseconds time) {
  out += key;
  log::append_milliseconds(out, time);
}

}  // namespace

std::string_view protocol_of(const RequestRecord& request) {
  if (request.grpc) return "grpc";
  switch (request.version) {
    case http::Version::kHttp10:
      return "http/1.0";
    case http::Version::kHttp11:
      return "http/1.1";
    case http::Version::kHttp2:
      return "h2";
  }
  return "http/1.1";
}

void append_request_line(std::string& out, const RequestRecord& request) {
  thread_local const session::Record kNobody;  // what append_way() keeps in it is this thread's
  const auto& connection = request.connection == nullptr ? kNobody : *request.connection;
  out += R"({"start":")";
  log::append_time(out, request.start);
  out += '"';
  append_time_taken(out, R"(,"durationMs":)", request.duration);
  out += R"(,"upstreamServiceMs":)";
  if (request.upstream_service.count() <= 0)
    out += "null";
  else
    log::append_milliseconds(out, request.upstream_service);
  log::append_way(out, connection);
  append_text(out, R"(,"method":)", request.method);
  append_text(out, R"(,"authority":)", request.authority);
  append_text(out, R"(,"path":)", request.path, kMostPath);
  out += R"(,"protocol":")";
  out += protocol_of(request);
  out += R"(","code":)";
  if (request.status == 0)
    out += "null";
  else
    append_number(out, request.status);
  out += R"(,"grpcStatus":)";
  if (request.grpc_status < 0)
    out += "null";
  else
    append_number(out, static_cast<unsigned>(request.grpc_status));
  out += R"(,"flags":")";
  out += name_of(request.flag);
  out += '"';
  append_text(out, R"(,"details":)", request.details);
  append_text(out, R"(,"policy":)", request.policy);
  out += R"(,"bytesSent":)";
  append_number(out, request.request_bytes);
  out += R"(,"bytesReceived":)";
  append_number(out, request.response_bytes);
  append_text(out, R"(,"requestId":)", request.request_id);
  append_text(out, R"(,"traceId":)", request.trace_id);
  append_text(out, R"(,"userAgent":)", request.user_agent);
  out += "}\n";
}

}  // namespace underpass::telemetry
