// SPDX-License-Identifier: Apache-2.0
// By which the programs notice that the agent is gone in that moment, and not when its heartbeat is old: a listening
// socket that it alone has, in up_listeners. Where it listens nobody can call.
#pragma once

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::workers {

Result<UniqueFd> make_presence();

}  // namespace underpass::workers
