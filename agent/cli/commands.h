// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each prints its answer and returns the exit code.
#pragma once

#include <string>

#include "agent/admin/protocol.h"
#include "agent/cli/session.h"
#include "underpass/ids.h"

namespace underpass::cli {

ExitCode show_status(const Session& session);
ExitCode show_check(const Session& session);  // asks the kernel itself where no agent answers
ExitCode show_pods(const Session& session);
ExitCode show_connections(const Session& session);
ExitCode show_version(const Session& session);

// These read the pinned maps themselves.
ExitCode list_maps(const Session& session);
ExitCode dump_maps(const Session& session, const std::string& name);  // "all": every one

// Through the agent where one answers. Without it the node is detached from its pins alone, and attach only forgets the
// marker that keeps the next agent from attaching.
ExitCode detach(const Session& session, const admin::Scope& scope);
ExitCode attach(const Session& session, const admin::Scope& scope);

// Forgets what was learned of the pod's workload.
ExitCode relearn(const Session& session, const NamespacedName& pod);

}  // namespace underpass::cli
