// SPDX-License-Identifier: Apache-2.0
// ProxySettings and HttpSettings as JSON.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "underpass/proxy_settings.h"
#include "underpass/routing_table_json/values.h"

namespace underpass::routing_table_json {

inline constexpr std::uint64_t kMaxThreads = 64;

inline constexpr Name<PathNormalization> kPathNormalizations[] = {
    {PathNormalization::kNone, "NONE"},
    {PathNormalization::kBase, "BASE"},
    {PathNormalization::kMergeSlashes, "MERGE_SLASHES"},
    {PathNormalization::kDecodeAndMergeSlashes, "DECODE_AND_MERGE_SLASHES"},
};

inline constexpr Name<Underscores> kUnderscores[] = {
    {Underscores::kAllow, "allow"},
    {Underscores::kReject, "reject"},
    {Underscores::kDrop, "drop"},
};

inline json::object encode_http(const HttpSettings& http) {
  return {{"pathNormalization", encode_choice(kPathNormalizations, http.path_normalization)},
          {"headersWithUnderscores", encode_choice(kUnderscores, http.headers_with_underscores)},
          {"maxRequestHeadersBytes", http.max_request_headers_bytes},
          {"maxRequestHeaders", http.max_request_headers},
          {"maxConcurrentStreams", http.max_concurrent_streams},
          {"streamWindowBytes", http.stream_window_bytes},
          {"connectionWindowBytes", http.connection_window_bytes},
          {"requestHeadersTimeoutMs", http.request_headers_timeout.count()},
          {"streamIdleTimeoutMs", http.stream_idle_timeout.count()},
          {"keepAliveTimeoutMs", http.keep_alive_timeout.count()},
          {"detectionTimeoutMs", http.detection_timeout.count()},
          {"maxRequests", http.max_requests_per_worker}};
}

inline HttpSettings decode_http(const json::value& value, const std::string& path, Problem& problem) {
  Object http(value, path, problem);
  HttpSettings out;
  out.path_normalization = decode_choice(http, "pathNormalization", problem, kPathNormalizations);
  out.headers_with_underscores = decode_choice(http, "headersWithUnderscores", problem, kUnderscores);
  out.max_request_headers_bytes = http.number<std::size_t>("maxRequestHeadersBytes", 1);
  out.max_request_headers = http.number<std::size_t>("maxRequestHeaders", 1);
  out.max_concurrent_streams = http.number<std::uint32_t>("maxConcurrentStreams", 1);
  out.stream_window_bytes = http.number<std::uint32_t>("streamWindowBytes", 1);
  out.connection_window_bytes = http.number<std::uint32_t>("connectionWindowBytes", 1);
  out.request_headers_timeout = decode_duration(http, "requestHeadersTimeoutMs", 1);
  out.stream_idle_timeout = decode_duration(http, "streamIdleTimeoutMs", 0);
  out.keep_alive_timeout = decode_duration(http, "keepAliveTimeoutMs", 1);
  out.detection_timeout = decode_duration(http, "detectionTimeoutMs", 1);
  out.max_requests_per_worker = http.number<std::uint32_t>("maxRequests", 1);
  http.end();
  return out;
}

inline json::object encode_settings(const ProxySettings& settings) {
  return {{"threads", settings.threads},
          {"connectTimeoutMs", settings.connect_timeout.count()},
          {"idleTimeoutMs", settings.idle_timeout.count()},
          {"drainTimeoutMs", settings.drain_timeout.count()},
          {"http", encode_http(settings.http)}};
}

inline ProxySettings decode_settings(const json::value& value, const std::string& path, Problem& problem) {
  Object settings(value, path, problem);
  ProxySettings out;
  out.threads = settings.number<unsigned>("threads", 1, kMaxThreads);
  out.connect_timeout = decode_duration(settings, "connectTimeoutMs", 1);
  out.idle_timeout = decode_duration(settings, "idleTimeoutMs", 0);
  out.drain_timeout = decode_duration(settings, "drainTimeoutMs", 0);
  if (const auto* http = settings.member("http")) out.http = decode_http(*http, settings.path_of("http"), problem);
  settings.end();
  return out;
}

}  // namespace underpass::routing_table_json
