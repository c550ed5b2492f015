// SPDX-License-Identifier: Apache-2.0
// One request judged by the AuthorizationPolicies themselves, one after the other, as Istio's reference reads: what
// authz::Authorizer is tested against. Slow, and nothing is shared with it but the types of the question and the
// answer; keep it so.
#pragma once

#include "userspace_proxy/authz/authorizer.h"

namespace underpass::test {

enum class Stage { kBeforeCustom, kAfterCustom };
authz::Verdict judge_plainly(const HttpPolicySet& set, const authz::Peer& peer, const authz::Subject& subject,
                             Stage stage = Stage::kBeforeCustom);
authz::Verdict judge_tcp_plainly(const HttpPolicySet& set, const authz::Peer& peer);

}  // namespace underpass::test
