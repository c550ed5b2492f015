// SPDX-License-Identifier: Apache-2.0
// Ends live connections that policy does not allow, or that the worker which is to decide has no part in: those that
// have a record, and those that were there before anybody kept one, because the pod had not joined yet or the agent had
// not started.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/compile/policy_rows.h"
#include "agent/dataplane/maps.h"
#include "agent/dataplane/policies.h"
#include "agent/dataplane/worker_maps.h"
#include "underpass/result.h"

namespace underpass::dataplane {

// Both ends of a connection, where they are pods of this node; first the one that broke it.
Result<void> reset_connection(const up_conn& record);

struct CutInput {
  Maps& maps;
  const WorkerMaps& workers;
  const compile::Tables& tables;
  const Policies& policies;
  const compile::IdentityNumbers& numbers;
  // Since when the programs let nobody past the worker of these pods (UP_CAPTURE_MUST), CLOCK_MONOTONIC.
  const std::map<NetnsCookie, std::uint64_t>& decided_since;
};

struct Cut {
  std::vector<std::string> connections;  // "10.0.0.1:4000 -> 10.0.0.2:80"
  std::vector<Error> errors;
};

// Every connection that has a record, and those to `pods` that have none. Of these it is known who dialled where the
// client's socket is found in the network namespace of the pod that has its address, else it is nobody; and one counts
// as inbound when something listens on its local port.
Cut cut_denied(const CutInput& input, const std::set<NetnsCookie>& pods);

}  // namespace underpass::dataplane
