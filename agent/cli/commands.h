// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each prints its answer and returns the exit code.
#pragma once

#include <string>
#include <vector>

#include "agent/admin/protocol.h"
#include "agent/cli/session.h"
#include "underpass/ids.h"

namespace underpass::cli {

ExitCode show_status(const Session& session);
// Whether the agent works and is ready; with an instance: that one and no other.
ExitCode show_ready(const Session& session, const std::string& instance);
ExitCode show_check(const Session& session);  // asks the kernel itself where no agent answers
ExitCode show_pods(const Session& session);
ExitCode show_connections(const Session& session);
ExitCode show_services(const Session& session);
ExitCode show_policies(const Session& session);
ExitCode show_certs(const Session& session);
ExitCode show_version(const Session& session);

// As the command line has them, each well-formed.
struct ExplainArguments {
  std::string from;                  // NS/POD
  std::string to;                    // HOST:PORT
  std::string protocol = "tcp";      // or udp
  std::string method;                // empty: not given
  std::string path;                  // empty: not given
  std::vector<std::string> headers;  // K:V
};

// Negative: the connection would be denied.
ExitCode show_explain(const Session& session, const ExplainArguments& arguments);

// Empty: not asked for.
struct FlowFilter {
  std::string ns;       // of either end
  std::string pod;      // "namespace/name" of either end
  std::string verdict;  // "allowed", "denied"
  std::string code;     // "404", "4xx"
};

// Those that the agent keeps and that match; with `follow` also those to come, until SIGINT.
ExitCode show_flows(const Session& session, const FlowFilter& filter, bool follow);

// The worker of a pod, and what it was given.
ExitCode show_proxy_config(const Session& session, const NamespacedName& pod);

// These read the pinned maps themselves.
ExitCode list_maps(const Session& session);
ExitCode dump_maps(const Session& session, const std::string& name);  // "all": every one

// Through the agent where one answers. Without it the node is detached from its pins alone, and attach only forgets the
// marker that keeps the next agent from attaching.
ExitCode detach(const Session& session, const admin::Scope& scope);
ExitCode attach(const Session& session, const admin::Scope& scope);

// Begins to replace the root of the mesh's own authority.
ExitCode rotate_root(const Session& session);

// Forgets what was learned of the pod's workload.
ExitCode relearn(const Session& session, const NamespacedName& pod);

}  // namespace underpass::cli
