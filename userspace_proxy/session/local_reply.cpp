// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/local_reply.h"

#include <charconv>
#include <string>

namespace underpass::session {
namespace {

using telemetry::RequestFlag;

// gRPC's "HTTP to gRPC Status Code Mapping".
int grpc_status(unsigned status) {
  switch (status) {
    case 400:
      return 13;  // INTERNAL
    case 401:
      return 16;  // UNAUTHENTICATED
    case 403:
      return 7;  // PERMISSION_DENIED
    case 404:
      return 12;  // UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;  // UNAVAILABLE
    default:
      return 2;  // UNKNOWN
  }
}

}  // namespace

bool is_grpc(const http::Request& request) {
  constexpr std::string_view kType = "application/grpc";
  const auto type = request.fields.find("content-type");
  if (!type || !type->starts_with(kType)) return false;
  const auto rest = type->substr(kType.size());
  return rest.empty() || rest.front() == '+' || rest.front() == ';';
}

int grpc_status_of(const http::Fields& fields) {
  int status = -1;
  if (const auto text = fields.find("grpc-status"))
    (void)std::from_chars(text->data(), text->data() + text->size(), status);
  return status;
}

unsigned status_of(RequestFlag flag) {
  switch (flag) {
    case RequestFlag::kProtocolError:
      return 400;
    case RequestFlag::kTimeout:
      return 504;
    case RequestFlag::kHeadTimeout:
      return 408;
    case RequestFlag::kUpstreamError:
      return 502;
    case RequestFlag::kDenied:
      return 403;
    default:
      return 503;
  }
}

std::string_view body_of(RequestFlag flag) {
  switch (flag) {
    case RequestFlag::kDenied:
      return "RBAC: access denied";
    case RequestFlag::kProtocolError:
      return "bad request";
    case RequestFlag::kTimeout:
      return "stream timeout";
    case RequestFlag::kOverload:
      return "overload";
    case RequestFlag::kNoUpstream:
      return "no healthy upstream";
    case RequestFlag::kUpstreamError:
      return "upstream connect error or disconnect/reset before headers. reset reason: protocol error";
    default:
      return "upstream connect error or disconnect/reset before headers";
  }
}

int to_grpc(http::Response& response, std::string_view message) {
  const int status = grpc_status(response.status);
  response.status = 200;
  response.fields.set("content-type", "application/grpc");
  response.fields.set("grpc-status", std::to_string(status));
  response.fields.set("grpc-message", message);
  return status;
}

}  // namespace underpass::session
