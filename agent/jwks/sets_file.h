// SPDX-License-Identifier: Apache-2.0
// <state-dir>/jwks.json: the last good key set of each URI, so that tokens are taken after a restart of the agent while
// their issuer is away:
//   {"version": 1, "sets": {"https://issuer.example/keys": "{\"keys\": […]}"}}
#pragma once

#include <map>
#include <string>

#include "underpass/result.h"

namespace underpass::jwks {

using Sets = std::map<std::string, std::string>;  // by URI

std::string sets_path(const std::string& state_dir);

// None where there is no file. Of one that is not understood as a whole, or has a set that is none, nothing is
// believed.
Result<Sets> load_sets(const std::string& path);
Result<void> save_sets(const std::string& path, const Sets& sets);

}  // namespace underpass::jwks
