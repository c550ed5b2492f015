// SPDX-License-Identifier: Apache-2.0
// What a clause, which is a rule with one of its sources and one of its operations, asks for: a list of facts and the
// values that each may have. All values are texts here, so that one kind of index serves all: a network is a prefix of
// its addresses' bits, a port its decimal digits.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "underpass/ip_address.h"
#include "underpass/model/policy.h"

namespace underpass::authz {

// What is asked about.
struct Fact {
  enum class Kind {
    kPrincipal,
    kNamespace,
    kServiceAccount,
    kTrustDomain,
    kSourceIp,
    kRemoteIp,
    kDestinationIp,
    kPort,
    kHost,  // of requests from here on, the cheap ones first
    kMethod,
    kPath,
    kHeader,
    kRequestPrincipal,
    kAudiences,
    kPresenter,
    kClaim,
  };
  Kind kind = Kind::kPrincipal;
  std::vector<std::string> members;  // of kHeader its name, of kClaim the way to it

  [[nodiscard]] bool is_of_request() const { return kind >= Kind::kHost; }
  auto operator<=>(const Fact&) const = default;
};

struct Requirement {
  Fact fact;
  model::Match<model::StringMatch> match;
  std::string name;  // as the policy has it: "notPaths" is of "paths"
};

struct Demand {
  std::vector<Requirement> requirements;
  // Why nothing can be told of it here: a key that is not supported, or a template that is none. It is not among the
  // requirements then.
  std::string unknown;
};

// `source` and `operation` may be null.
Demand demand_of(const model::PolicyRule& rule, const model::PolicySource* source,
                 const model::PolicyOperation* operation);

std::string to_text(const IpAddress& ip);  // its bits, the family before them
std::string to_text(const model::IpBlock& block);

// Whether a host that a policy names has a port: "example.com:8080", "example.com:*", "*:8080".
bool has_port(const model::StringMatch& host);

}  // namespace underpass::authz
