// SPDX-License-Identifier: Apache-2.0
// How a request ended. They are Envoy's response flags where Envoy has one that means the same
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage, RESPONSE_FLAGS). Both ends
// of worker_protocol.h know them, so that a worker cannot make up others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace underpass {

enum class RequestFlag : std::uint8_t {
  kNone,            // "-"
  kDenied,          // "RBAC": policy denied it. Envoy says so in the details; ours is a flag
  kUnauthorized,    // "UAEX": the external authorisation service denied it
  kBadToken,        // "JWT": its token is not good
  kDownstreamGone,  // "DC": the client went or reset the stream before the answer was whole
  kProtocolError,   // "DPE": the client's HTTP was refused
  kUpstreamError,   // "UPE": the server's HTTP was refused
  kConnectFailed,   // "UF"
  kNoUpstream,      // "UH": no socket to dial with
  kUpstreamGone,    // "UC": the server closed before the answer was whole
  kUpstreamReset,   // "UR": the server reset the stream
  kOverload,        // "UO": too many requests, or memory is short
  kTimeout,         // "UT": stream idle, or connect, time-out
  kHeadTimeout,     // "SI": the head did not come in time
  kDrained,         // "DR"
};

inline constexpr std::array<std::string_view, 15> kRequestFlagNames{
    "-", "RBAC", "UAEX", "JWT", "DC", "DPE", "UPE", "UF", "UH", "UC", "UR", "UO", "UT", "SI", "DR"};
inline constexpr std::size_t kRequestFlags = kRequestFlagNames.size();
static_assert(static_cast<std::size_t>(RequestFlag::kDrained) + 1 == kRequestFlags);

constexpr std::string_view name_of(RequestFlag flag) { return kRequestFlagNames[static_cast<std::size_t>(flag)]; }

constexpr std::optional<RequestFlag> find_request_flag(std::string_view name) {
  for (std::size_t i = 0; i < kRequestFlags; ++i)
    if (kRequestFlagNames[i] == name) return static_cast<RequestFlag>(i);
  return std::nullopt;
}

// Somebody decided that it may not be, rather than that something went wrong.
constexpr bool is_denial(RequestFlag flag) {
  return flag == RequestFlag::kDenied || flag == RequestFlag::kUnauthorized || flag == RequestFlag::kBadToken;
}

}  // namespace underpass
