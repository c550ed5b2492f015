// SPDX-License-Identifier: Apache-2.0
// The half of a Service's tables that its endpoints have no part in: where it is dialled.
#pragma once

#include "agent/compile/services.h"

namespace underpass::compile {

// The tables of a Service, without backends. None for a headless one or an ExternalName.
PortTables compile_frontends(const model::Service& service);

// Whether this is one of its own addresses, and not an external one or a node's.
bool is_cluster_ip(const model::Service& service, const IpAddress& ip);

}  // namespace underpass::compile
