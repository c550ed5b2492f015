// SPDX-License-Identifier: Apache-2.0
// What is spoken at a port of a Service, as Istio's protocol selection has it
// (https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection): appProtocol before the port's
// name, which is "http" or "http-anything". What neither says is looked at.
#pragma once

#include <string_view>

#include "underpass/routing_table.h"

namespace underpass::compile {

// Either may be empty. Upper and lower case are the same. TLS, the databases and UDP are kTcp: nobody looks inside.
PortProtocol protocol_of(std::string_view app_protocol, std::string_view port_name);

}  // namespace underpass::compile
