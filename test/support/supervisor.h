// SPDX-License-Identifier: Apache-2.0
// Runs a test program in a child process, so that however it ends (done, crashed, SIGINT, SIGTERM) nothing stays
// behind. What a SIGKILL of both leaves is swept by the next run.
#pragma once

#include <functional>

namespace underpass::test {

// Forks. The child gets a mount namespace of its own (what it mounts dies with it, /var/run/netns is private and empty)
// and returns `body()` as its exit code. The parent waits, cleans up and returns that code, 128 + n after a signal n.
// Call it in main(), before there are threads.
int run_supervised(const std::function<int()>& body);

}  // namespace underpass::test
