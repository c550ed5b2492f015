// SPDX-License-Identifier: Apache-2.0
// Pinned links: <bpffs>/underpass/link_<name>.
#pragma once

#include <string>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {

std::string link_path(const std::string& pin_dir, const std::string& name);

// Is a link pinned under this name that runs the very same program?
bool is_pinned_with(const std::string& path, int program_fd);
// ... and does this link?
bool runs_program(int link_fd, int program_fd);

}  // namespace underpass::dataplane
