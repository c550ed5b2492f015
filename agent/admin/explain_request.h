// SPDX-License-Identifier: Apache-2.0
// What a worker would say of a request over a connection that the kernel lets through: the part of `explain` that asks
// what workers ask. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "agent/admin/explain_policy.h"
#include "underpass/proxy_settings.h"
#include "underpass/routing_table.h"

namespace underpass::admin {

struct RequestQuestion {
  std::string method = "GET";
  std::string path = "/";
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case; "host" is the request's

  bool operator==(const RequestQuestion&) const = default;
};

// Tokens are not looked at: whoever is asked for a token has none. `before` is what the kernel said.
Judgement judge_request(const RequestQuestion& question, const compile::PodStatus& client, bool attested,
                        const compile::PodStatus& server, const IpAddress& server_ip, std::uint16_t port,
                        const HttpPolicySet& policies, PathNormalization how, const Judgement& before);

}  // namespace underpass::admin
