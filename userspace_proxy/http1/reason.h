// SPDX-License-Identifier: Apache-2.0
// Status lines of answers that go out.
#pragma once

#include <string>
#include <string_view>

namespace underpass::http1 {

// An empty or malformed `reason` is the usual one's place.
void write_status_line(std::string& out, unsigned status, std::string_view reason);

}  // namespace underpass::http1
