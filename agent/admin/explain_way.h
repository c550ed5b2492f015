// SPDX-License-Identifier: Apache-2.0
// Which way a TCP connection would go that policy allows, and why: the part of `explain` that asks what connect() and
// sk_lookup ask. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "agent/admin/views.h"
#include "agent/compile/compile.h"
#include "agent/compile/remotes.h"
#include "agent/compile/services.h"
#include "underpass/abi.h"
#include "underpass/ids.h"

namespace underpass::admin {

struct Way {
  up_way way = UP_WAY_DIRECT;
  std::string reason;
  bool refused = false;  // a worker alone may dial there, and none is there
};

// What decides beside the pods themselves.
struct Interception {
  const std::set<compile::ExcludedPort>& excluded;
  const std::set<NetnsCookie>& workers;       // pods that a worker has
  const compile::Remotes* remotes = nullptr;  // that tunnels lead to
};

// From an enrolled pod, to one of these ends or another; there is one at least. Where they differ, the way is that of
// the least that is done: direct before short-circuit before proxied, and the reason counts the others.
Way way_to_any(const compile::PodStatus& client, const PodIndex& pods, const std::vector<compile::Backend>& ends,
               const Interception& interception);

// From a pod that is not enrolled, or that excludes the port that it dials. The reason is empty where nothing is done.
Way way_from_outside(const compile::PodStatus& client, const PodIndex& pods, const std::vector<compile::Backend>& ends,
                     const Interception& interception);

}  // namespace underpass::admin
