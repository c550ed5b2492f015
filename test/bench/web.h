// SPDX-License-Identifier: Apache-2.0
// An ordinary web server in one pod and its load in another: nginx and wrk over HTTP/1.1, nghttpd and h2load over
// HTTP/2 without TLS.
#pragma once

#include <cstdint>
#include <filesystem>

#include "test/bench/stream.h"
#include "test/support/process.h"

namespace underpass::bench {

inline constexpr int kWrkConnections = 32;
inline constexpr int kWebBodyBytes = 64;

inline constexpr int kStreams = 16;  // of a connection of HTTP/2, of which there are kHttp2Connections
inline constexpr int kHttp2Connections = 8;

struct Load {
  double per_second = 0;  // requests
  double p99_us = 0;      // 99 of 100 were answered within this time
};

// wrk from pair.client: one thread, kWrkConnections keep-alive connections. Throws when any request failed.
// `while_open` runs in the middle: not to be used in a run that counts.
Load measure_requests(const Pair& pair, Seconds duration, const WhileOpen& while_open = {});
// h2load from pair.client: one thread. Throws as well. It leaves a file in `folder`.
Load measure_http2_requests(const Pair& pair, Seconds duration, const std::filesystem::path& folder);

// nginx with one worker (and no master, whose death would leave the worker behind), or nghttpd with one thread: in
// pair.server, without access log.
class WebServer {
 public:
  enum class Speaks { kHttp1, kHttp2 };

  // Its files go to `folder`, which it makes. Returns once it answers.
  WebServer(const Pair& pair, const std::filesystem::path& folder, Speaks speaks = Speaks::kHttp1);

 private:
  test::Process server_;
};

}  // namespace underpass::bench
