// SPDX-License-Identifier: Apache-2.0
// spec.proxy of Mesh/default: how workers are, as the agent reads it and workers are told.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace underpass {

// What is done to a path before it is matched and forwarded (Istio, meshConfig.pathNormalization). Each does what the
// ones before it do.
enum class PathNormalization : std::uint8_t {
  kNone,
  kBase,                   // RFC 3986 §6.2.2: case of escapes, escaped unreserved characters, dot segments; "\" is "/"
  kMergeSlashes,           // "//" is "/"
  kDecodeAndMergeSlashes,  // "%2f" and "%5c" are "/"
};

enum class Underscores : std::uint8_t { kAllow, kReject, kDrop };

// Envoy's edge defaults (https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge) but for request
// bodies, which may take as long as they like while bytes move.
struct HttpSettings {
  PathNormalization path_normalization = PathNormalization::kMergeSlashes;
  Underscores headers_with_underscores = Underscores::kReject;
  std::size_t max_request_headers_bytes = 60UL * 1024;
  std::size_t max_request_headers = 100;
  std::uint32_t max_concurrent_streams = 100;       // HTTP/2, per connection
  std::uint32_t stream_window_bytes = 64UL * 1024;  // HTTP/2
  std::uint32_t connection_window_bytes = 1024UL * 1024;
  std::chrono::milliseconds request_headers_timeout{10'000};  // from a head's first byte to its last
  std::chrono::milliseconds stream_idle_timeout{300'000};     // a request without a byte either way; 0: for ever
  std::chrono::milliseconds keep_alive_timeout{3'600'000};    // a connection without a request, of clients and in pools
  std::chrono::milliseconds detection_timeout{100};           // how long a client that says nothing may stay undecided
  std::uint32_t max_requests_per_worker = 8192;               // at once; more get 503 (flag UO)

  bool operator==(const HttpSettings&) const = default;
};

struct ProxySettings {
  unsigned threads = 2;                               // counts when a worker starts
  std::chrono::milliseconds connect_timeout{10'000};  // of a dial
  std::chrono::milliseconds idle_timeout{3'600'000};  // a connection without a byte either way; 0: for ever
  std::chrono::milliseconds drain_timeout{45'000};    // a worker that goes lets its connections end so long
  HttpSettings http;

  bool operator==(const ProxySettings&) const = default;
};

}  // namespace underpass
