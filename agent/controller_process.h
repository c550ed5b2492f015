// SPDX-License-Identifier: Apache-2.0
// `underpassd controller`: the cluster's helper as a process. Several may run; one leads, by a Lease, and the others
// wait. Nothing that carries traffic waits for it.
#pragma once

namespace underpass {

// Its own flags; returns the exit code: 0 stopped by a signal, 1 could not start, 2 usage.
int run_controller(int argc, char** argv);

}  // namespace underpass
