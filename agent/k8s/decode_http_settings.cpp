// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_http_settings.h"

#include <chrono>
#include <cstdint>

#include "agent/k8s/decode_duration.h"
#include "agent/k8s/decode_values.h"

namespace underpass::k8s {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kMaxHeadersKiB = 8192;
constexpr std::uint32_t kMaxHeaders = 32768;
constexpr std::uint32_t kMaxRequests = 1'000'000;
// RFC 9113 §6.9: a connection's window begins with the first and cannot be made smaller; none can exceed the other.
constexpr std::uint32_t kMinWindow = 65'535;
constexpr std::uint32_t kMaxWindow = 2'147'483'647;

}  // namespace

HttpSettings decode_http_settings(const Field& field) {
  HttpSettings out;
  if (!field.present()) return out;
  field.expect_members({"pathNormalization", "headersWithUnderscores", "maxRequestHeadersKiB", "maxRequestHeaders",
                        "maxConcurrentStreams", "initialStreamWindowBytes", "initialConnectionWindowBytes",
                        "requestHeadersTimeout", "streamIdleTimeout", "keepAliveTimeout", "detectionTimeout",
                        "maxRequests"});
  const auto number = [&](const char* name, std::uint32_t least, std::uint32_t most, auto& to) {
    if (const auto value = field[name].integer(least, most)) to = *value;
  };
  const auto duration = [&](const char* name, milliseconds least, milliseconds& to) {
    to = decode_duration(field[name], least).value_or(to);
  };
  out.path_normalization =
      decode_choice<PathNormalization>(field["pathNormalization"],
                                       {{"NONE", PathNormalization::kNone},
                                        {"BASE", PathNormalization::kBase},
                                        {"MERGE_SLASHES", PathNormalization::kMergeSlashes},
                                        {"DECODE_AND_MERGE_SLASHES", PathNormalization::kDecodeAndMergeSlashes}})
          .value_or(out.path_normalization);
  out.headers_with_underscores =
      decode_choice<Underscores>(
          field["headersWithUnderscores"],
          {{"allow", Underscores::kAllow}, {"reject", Underscores::kReject}, {"drop", Underscores::kDrop}})
          .value_or(out.headers_with_underscores);
  if (const auto kib = field["maxRequestHeadersKiB"].integer(1, kMaxHeadersKiB)) {
    out.max_request_headers_bytes = std::size_t{*kib} * 1024;
  }
  number("maxRequestHeaders", 1, kMaxHeaders, out.max_request_headers);
  number("maxConcurrentStreams", 1, kMaxWindow, out.max_concurrent_streams);
  number("initialStreamWindowBytes", kMinWindow, kMaxWindow, out.stream_window_bytes);
  number("initialConnectionWindowBytes", kMinWindow, kMaxWindow, out.connection_window_bytes);
  duration("requestHeadersTimeout", milliseconds(1), out.request_headers_timeout);
  duration("streamIdleTimeout", milliseconds(0), out.stream_idle_timeout);
  duration("keepAliveTimeout", milliseconds(1), out.keep_alive_timeout);
  duration("detectionTimeout", milliseconds(1), out.detection_timeout);
  number("maxRequests", 1, kMaxRequests, out.max_requests_per_worker);
  return out;
}

}  // namespace underpass::k8s
