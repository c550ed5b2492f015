// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/telemetry/request_sink.h"

#include "userspace_proxy/telemetry/request_line.h"

namespace underpass::telemetry {

void RequestSink::add(const RequestRecord& request) {
  append_request_line(lines_, request);
  series_.add(request);
  flows_.add(request);
  if (request.connection != nullptr) notices_.add(request.connection->server_netns, request.notices);
}

}  // namespace underpass::telemetry
