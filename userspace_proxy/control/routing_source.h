// SPDX-License-Identifier: Apache-2.0
// A routing table out of the memfd that the agent passes: whole, sealed so that nobody changes it while it is read, and
// the one that was announced; or an Error.
#pragma once

#include <cstdint>

#include "underpass/result.h"
#include "underpass/routing_table.h"
#include "underpass/worker_protocol.h"

namespace underpass::control {

inline constexpr std::uint64_t kMaxRoutingTable = 64ull << 20;  // bytes of JSON

Result<RoutingTable> load_routing_table(int fd, const worker::Config& announced);

}  // namespace underpass::control
