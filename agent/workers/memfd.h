// SPDX-License-Identifier: Apache-2.0
// A text that is handed to another process once and for all: a memfd, sealed against every change.
#pragma once

#include <string_view>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::workers {

Result<UniqueFd> sealed_memfd(const char* name, std::string_view text);

}  // namespace underpass::workers
