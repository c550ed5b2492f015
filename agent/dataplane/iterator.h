// SPDX-License-Identifier: Apache-2.0
// Runs BPF iterator programs, over lists of the kernel's. Those of sockets are of the calling thread's network
// namespace.
#pragma once

#include <string>

#include "underpass/result.h"

namespace underpass::dataplane {

// To its end.
Result<void> run_iterator(const std::string& name, int program_fd);

// The same, and returns what the program wrote by bpf_seq_write().
Result<std::string> read_iterator(const std::string& name, int program_fd);

}  // namespace underpass::dataplane
