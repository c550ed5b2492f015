// SPDX-License-Identifier: Apache-2.0
// The rows of `underpassctl services`: one for each port of a Service in each IP family, and one for each thing that a
// Service asked for and did not get. Pure, as views.h.
#pragma once

#include <boost/json/array.hpp>
#include <functional>
#include <span>
#include <string>

#include "agent/compile/services.h"
#include "underpass/ip_address.h"
#include "underpass/model/objects.h"

namespace underpass::admin {

// "namespace/name" of the pod that has this address; empty: no pod that is known.
using PodName = std::function<std::string(const IpAddress& ip)>;

// {namespace, name, port, protocol: "tcp" | "udp", family: "IPv4" | "IPv6", frontends: ["10.96.0.1:80"; a NodePort is
// "*:30080"], backends: [{ip, port, weight, pod}], loadBalancing: "random" | "maglev", affinitySeconds,
// state: "active" | "refused" | "stale", cause}, sorted by namespace and name.
// Of `diagnostics` only those of Services count: the conflicts of the compiler, and those of the source too where the
// caller adds them. A refused one is a row of its own, in which what it does not tell is null; a stale one is said on
// the rows that are still in force.
boost::json::array services_view(const compile::PortTables& tables, std::span<const model::Diagnostic> diagnostics,
                                 const PodName& pod_name);

// "10.96.0.1:80"; of the unspecified address, which means every node: "*:30080".
std::string frontend_text(const compile::Frontend& frontend);

// "shop/web:80"
std::string port_text(const compile::PortKey& key);

}  // namespace underpass::admin
