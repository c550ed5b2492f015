// SPDX-License-Identifier: Apache-2.0
// Which addresses the agent may dial because somebody wrote them into an object: it stands on the node's network and
// could reach what its users must not (the metadata service, kubelets, consoles). Asked about the address itself, after
// the name was looked up.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "underpass/ip_address.h"
#include "underpass/result.h"

namespace underpass::jwks {

struct GuardOptions {
  std::string cluster_domain = "cluster.local";
  bool allow_private = false;                        // issuers stand on private networks: an operator's decision
  std::function<std::vector<IpAddress>()> own = {};  // the node's addresses; null: those of its interfaces
};

// Loopback, link-local, metadata services, multicast, what is no address of a host, and the node's own are always
// refused; private networks unless they are allowed, or `host` is a Service's name (*.svc, *.svc.<cluster domain>).
// What carries an IPv4 address within (IPv4-mapped and -compatible, NAT64, 6to4) is judged by that. Who may make a
// Service may point its name at any private address.
Result<void> may_dial(const GuardOptions& options, const std::string& host, const IpAddress& address);

// Of all interfaces, at this moment.
std::vector<IpAddress> interface_addresses();

}  // namespace underpass::jwks
