// SPDX-License-Identifier: Apache-2.0
// What policy says of a connection, and who says it: the part of `explain` that asks the set which the kernel asks.
// Pure.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>

#include "agent/compile/compile.h"
#include "agent/compile/policies.h"
#include "underpass/ip_address.h"

namespace underpass::admin {

struct Judgement {
  bool allowed = true;
  boost::json::value decided_by;  // {kind, namespace, name, rule}; null: no object did
  std::string reason;             // empty: no policy is in the way
  bool worker_decides = false;    // of each request, where it is allowed
};

// `set` is the one in force for `server`; null: there is none. `attested`: the kernel tells who the client is; else it
// is unauthenticated there. Of a server about which its worker decides, what the kernel does before; without a worker
// that is to refuse.
Judgement judge(const compile::PodStatus& client, bool attested, const compile::PodStatus& server,
                const IpAddress& server_ip, std::uint16_t port, const compile::PolicySet* set, bool has_worker = true);

}  // namespace underpass::admin
