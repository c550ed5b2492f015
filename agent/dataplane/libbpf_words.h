// SPDX-License-Identifier: Apache-2.0
// libbpf explains failures by a callback without a context; its words are kept for the error that follows.
#pragma once

#include <string>

#include "underpass/result.h"

namespace underpass::dataplane {

// From here on, on this thread; what was kept is forgotten.
void keep_libbpf_words();
std::unexpected<Error> fail_libbpf(const std::string& what, int error);

}  // namespace underpass::dataplane
