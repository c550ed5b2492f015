// SPDX-License-Identifier: Apache-2.0
// underpassctl: what the command line means.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace underpass::cli {

// `arguments` without the program's name. Returns the exit code (session.h).
int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err);

}  // namespace underpass::cli
