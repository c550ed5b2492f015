// SPDX-License-Identifier: Apache-2.0
// `underpass-bench capture`: what goes over a link, for whoever wants to see whether it can be read.
#pragma once

#include <string>

namespace underpass::bench {

// Keeps every packet of the device until SIGTERM or SIGINT, and then writes their bytes to `file`, which it makes,
// empty, when it begins to listen. Throws when packets were lost.
void overhear(const std::string& netns, const std::string& device, const std::string& file);

}  // namespace underpass::bench
