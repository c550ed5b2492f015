// SPDX-License-Identifier: Apache-2.0
// What would become of a connection: `underpassctl explain`. It asks the tables that the kernel was given, in the order
// in which connect() does, so that the answer and what happens are one thing. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "agent/admin/explain_request.h"
#include "agent/admin/protocol.h"
#include "agent/compile/compile.h"
#include "agent/compile/policies.h"
#include "agent/compile/remotes.h"
#include "agent/compile/services.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"
#include "underpass/result.h"

namespace underpass::admin {

// HOST is an IP address (IPv6 in brackets) or the name of a Service as a pod would write it.
struct Destination {
  std::string host;  // without brackets
  std::uint16_t port = 0;

  bool operator==(const Destination&) const = default;
};

// "web:80", "10.96.0.1:80", "[fd00::1]:80". The host is an address or a DNS name, the port 1 to 65535.
Result<Destination> parse_destination(std::string_view text);
// "shop/web-1"
Result<NamespacedName> parse_pod_name(std::string_view text);

struct ExplainRequest {
  NamespacedName from;
  Destination to;
  model::Protocol protocol = model::Protocol::kTcp;
  std::optional<RequestQuestion> request;  // over that connection

  bool operator==(const ExplainRequest&) const = default;
};

// {"command": "explain", from: "NS/POD", to: "HOST:PORT", protocol: "tcp" | "udp", method, path: "/a?b", headers:
// ["name: value"]}. With one of the last three it is about a request; GET and "/" where they are missing.
std::expected<ExplainRequest, CommandError> decode_explain(const boost::json::object& request);

// Who may connect to a pod of this node; null: anybody.
using PolicyOf = std::function<std::shared_ptr<const compile::PolicySet>(const compile::PodStatus& pod)>;

// What is in force on this node.
struct ExplainInput {
  std::span<const compile::PodStatus> pods;
  const compile::PortTables& services;
  std::span<const IpAddress> node_addresses;     // sorted or not
  std::span<const model::Diagnostic> conflicts;  // of Services
  const std::set<compile::ExcludedPort>& excluded;
  const std::set<NetnsCookie>& workers;       // pods that a worker has
  PolicyOf policy_of = {};                    // empty: no policy is in force
  const compile::Remotes* remotes = nullptr;  // that tunnels lead to
  PathNormalization path_normalization = PathNormalization::kMergeSlashes;
};

// {verdict: "allow" | "deny", way: "direct" | "short-circuit" | "proxied", reason, decidedBy: null | {kind, namespace,
// name, rule}, service: "namespace/name:port" or null, dialled: "ip:port", backends: ["ip:port"]}. `rule` is
// "rules[0].from[1]" of an AuthorizationPolicy. Where policy denies some backends of a Service and not others, the
// verdict is "allow". Not found: the pod, a Service, or a port of a Service that is named.
Answer explain(const ExplainRequest& request, const ExplainInput& input);

}  // namespace underpass::admin
