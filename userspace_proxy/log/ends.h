// SPDX-License-Identifier: Apache-2.0
// What lines of connections and of requests have in common: who, to whom, and which way.
#pragma once

#include <string>

#include "userspace_proxy/session/record.h"

namespace underpass::log {

// ,"direction":… to "dialled":… Kept in the record for its next line.
void append_way(std::string& out, const session::Record& record);

}  // namespace underpass::log
