// SPDX-License-Identifier: Apache-2.0
// Runs BPF iterator programs: over the entries of a map, or over the kernel's own lists.
#pragma once

#include <string>

#include "underpass/result.h"

namespace underpass::dataplane {

// To its end. `map_fd` is for the programs that iterate over a map.
Result<void> run_iterator(const std::string& name, int program_fd, int map_fd = -1);

// The same, and returns what the program wrote by bpf_seq_write().
Result<std::string> read_iterator(const std::string& name, int program_fd, int map_fd = -1);

}  // namespace underpass::dataplane
