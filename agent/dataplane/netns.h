// SPDX-License-Identifier: Apache-2.0
// Looking into network namespaces: always on a thread of its own, so that nothing else of the agent ever changes place.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "agent/compile/compile.h"
#include "underpass/ids.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {

// Opens a network namespace by path and makes sure that it is one.
Result<UniqueFd> open_netns(const std::string& path);

// Runs `work` on a fresh thread inside the namespace, and waits for it.
Result<void> run_in_netns(int netns_fd, const std::function<Result<void>()>& work);

// The namespace's cookie and all its addresses.
Result<compile::NetnsFact> probe_netns(const std::string& path);

// The node's network namespaces that have a name or a running process, each once, until `visit` returns false.
void visit_netns(const std::function<bool(NetnsCookie, UniqueFd)>& visit);

// The one of these that has this cookie.
std::optional<UniqueFd> find_netns(NetnsCookie cookie);
// The same of many at once. Those that are gone are not in it.
std::map<NetnsCookie, UniqueFd> find_netns(const std::set<NetnsCookie>& cookies);

}  // namespace underpass::dataplane
