// SPDX-License-Identifier: Apache-2.0
// underpassctl run in this process: its exit code and what it wrote.
#pragma once

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "agent/cli/app.h"

namespace underpass::test {

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

inline Outcome run_ctl(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = cli::run(std::move(arguments), out, err);
  return {code, out.str(), err.str()};
}

}  // namespace underpass::test
