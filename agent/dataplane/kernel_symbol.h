// SPDX-License-Identifier: Apache-2.0
// Where the running kernel has what BPF programs compare addresses with.
#pragma once

#include <cstdint>

namespace underpass::dataplane {

// The function by which whoever sleeps in a call on a socket is woken; 0: /proc/kallsyms does not show it. Read once:
// that file has some 200,000 lines.
std::uint64_t woken_wake_function();

}  // namespace underpass::dataplane
