// SPDX-License-Identifier: Apache-2.0
// Takes from a process what it does not need, for good: afterwards whoever controls it can compute, use the descriptors
// that it has, and little else. Called once, as root, by the only thread, when everything is open that needs opening.
//
// In this order: limits; own mount, network, IPC, UTS and cgroup namespaces (a PID namespace is the parent's to make);
// an empty read-only root; user and group nobody without capabilities; no-new-privileges, not dumpable; seccomp.
#pragma once

#include <sys/types.h>

#include "underpass/result.h"

namespace underpass::sandbox {

struct SandboxOptions {
  uid_t uid = 65534;  // nobody, and so the group
  gid_t gid = 65534;
};

// An Error leaves the process half way: it should end.
Result<void> enter_sandbox(const SandboxOptions& options);

}  // namespace underpass::sandbox
