// SPDX-License-Identifier: Apache-2.0
// What traffic threads have of requests, cut into packets for the agent.
#pragma once

#include <vector>

#include "underpass/worker_protocol.h"

namespace underpass::control {

// What a thread has taken from its telemetry::RequestSink.
struct ToldRequests {
  std::vector<RequestSeries> series;
  RequestFlows flows;
  std::vector<PolicyNoticeCount> notices;
};

// None where there is nothing to tell.
std::vector<worker::Message> packets_of(ToldRequests told);

}  // namespace underpass::control
