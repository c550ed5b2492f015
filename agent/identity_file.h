// SPDX-License-Identifier: Apache-2.0
// <run-dir>/identities.json: which number stands for which service account in what is pinned, so that the next agent
// writes the same. Workers know whom to expect of a pod by that number, and they outlive the agent as pins do.
#pragma once

#include <string>

#include "agent/compile/policy_rows.h"
#include "underpass/result.h"

namespace underpass {

std::string identity_path(const std::string& run_dir);

// Nothing where there is no file; of one that is not understood as a whole nothing is believed.
Result<void> load_identities(const std::string& path, compile::IdentityNumbers& numbers);
Result<void> save_identities(const std::string& path, const compile::IdentityNumbers& numbers);

}  // namespace underpass
