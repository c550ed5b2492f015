// SPDX-License-Identifier: Apache-2.0
// The system calls that a worker may make, as a seccomp filter: what is not listed fails with EPERM, in every thread.
#pragma once

#include "underpass/result.h"

namespace underpass::sandbox {

// Needs no-new-privileges. Cannot be undone.
Result<void> load_syscall_filter();

}  // namespace underpass::sandbox
