// SPDX-License-Identifier: Apache-2.0
// A row of up_conns as C++ sees it.
#pragma once

#include <cstdint>
#include <string>

#include "underpass/abi.h"

namespace underpass::dataplane {

struct Connection {
  std::uint64_t id = 0;
  up_conn record{};
};

// "10.0.0.1:40000 -> 10.0.0.2:80"
std::string describe(const up_conn& record);

}  // namespace underpass::dataplane
