// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/connection.h"

#include <netinet/in.h>

#include "underpass/ip_address.h"

namespace underpass::dataplane {
namespace {

std::string endpoint(const up_end& end) {
  const IpAddress address(end.addr);
  const std::string text = address.is_v4() ? address.to_string() : "[" + address.to_string() + "]";
  return text + ":" + std::to_string(ntohs(end.port));
}

}  // namespace

std::string describe(const up_conn& record) {
  return endpoint(record.end[UP_CLIENT]) + " -> " + endpoint(record.end[UP_SERVER]);
}

}  // namespace underpass::dataplane
