// SPDX-License-Identifier: Apache-2.0
// The agent's part in JSON Web Tokens: from the RequestAuthentications that there are to the key sets that workers are
// given, and what operators are told of them.
#pragma once

#include <prometheus/metric_family.h>

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/jwks/fetcher.h"
#include "underpass/model/policy.h"
#include "underpass/routing_table.h"

namespace underpass {

// What must be fetched for them: rules that have their keys with them need nothing.
std::set<jwks::Wanted> wanted_sets(std::span<const model::RequestAuthentication> authentications);

// Of what was fetched, what these policies name.
std::map<std::string, std::string> key_sets_of(const jwks::Sets& sets,
                                               std::span<const std::shared_ptr<const HttpPolicySet>> policy_sets);

// For `status`: "jwks https://issuer.example/keys: 500 Internal Server Error, since 2026-03-01T09:30:00.125Z; tokens
// are judged by the last keys".
std::vector<std::string> key_set_problems(const jwks::Fetcher& fetcher);

// underpass_jwks_fetches_total{result} and underpass_jwks_sets{state}: fresh, stale (the last try failed), missing
// (tokens are refused).
std::vector<prometheus::MetricFamily> collect_key_sets(const jwks::Fetcher& fetcher);

}  // namespace underpass
