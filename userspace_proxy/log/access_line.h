// SPDX-License-Identifier: Apache-2.0
// A connection's line in the access log: one JSON object, what is not known is null.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace_proxy/session/outcome.h"
#include "userspace_proxy/session/record.h"

namespace underpass::log {

struct Ended {
  std::chrono::milliseconds duration{};
  session::Flag flag = session::Flag::kNone;
  std::string_view details{};  // text of the cause; empty: nothing to say
  std::uint64_t sent = 0;      // client to server
  std::uint64_t received = 0;
};

// Appends the line, with its line feed.
void append_access_line(std::string& out, const session::Record& record, const Ended& ended);

}  // namespace underpass::log
