// SPDX-License-Identifier: Apache-2.0
// The step between the objects and the bits: the clauses of one workload, each with what it asks of a connection. What
// it asks is kept where the objects have it, so a clause lives no longer than they do.
#pragma once

#include <vector>

#include "agent/compile/policies.h"
#include "agent/compile/port_set.h"

namespace underpass::compile {

enum class Attribute { kPrincipal, kNamespace, kServiceAccount, kTrustDomain };

struct IdentityTest {
  Attribute attribute = Attribute::kPrincipal;
  const model::Match<model::StringMatch>* match = nullptr;  // never empty
};

// All that is asked for must hold.
struct Clause {
  ClauseOrigin origin;
  bool of_accounts = true;         // may match an account
  bool of_unauthenticated = true;  // may match plaintext
  bool of_host = true;             // may match the node's own processes
  std::vector<IdentityTest> identity;
  std::vector<const model::Match<model::IpBlock>*> client_ip;
  std::vector<const model::Match<model::IpBlock>*> server_ip;
  PortSet ports;
};

// Everything of the set that follows from its clauses, of which there are kMaxClauses at the most.
PolicySet compile_clauses(const std::vector<Clause>& clauses, const model::MeshConfig& mesh,
                          const std::vector<NamespacedName>& accounts);

}  // namespace underpass::compile
