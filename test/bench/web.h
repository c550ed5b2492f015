// SPDX-License-Identifier: Apache-2.0
// nginx in one pod and wrk in another: what an ordinary HTTP/1.1 service gets out of it.
#pragma once

#include <cstdint>
#include <filesystem>

#include "test/bench/stream.h"
#include "test/support/process.h"

namespace underpass::bench {

inline constexpr int kWrkConnections = 32;
inline constexpr int kWebBodyBytes = 64;

// wrk from pair.client: one thread, kWrkConnections keep-alive connections. Requests a second; throws when any request
// failed. `while_open` runs in the middle: not to be used in a run that counts.
double measure_requests(const Pair& pair, Seconds duration, const WhileOpen& while_open = {});

// nginx with one worker (and no master, whose death would leave the worker behind), without access log, in pair.server;
// every request is answered from memory.
class WebServer {
 public:
  // Its files go to `folder`, which it makes. Returns once it answers.
  WebServer(const Pair& pair, const std::filesystem::path& folder);

  double measure(Seconds duration, const WhileOpen& while_open = {}) {
    return measure_requests(pair_, duration, while_open);
  }

 private:
  Pair pair_;
  test::Process nginx_;
};

}  // namespace underpass::bench
