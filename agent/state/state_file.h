// SPDX-License-Identifier: Apache-2.0
// Files in the state folder: what outlives the agent and a reboot. Read whole, and replaced in one step that is on the
// disk when it returns, so that a reader never sees half of one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass::state {

// Absent where the file does not exist; an error for one that is longer than `longest` bytes.
Result<std::optional<std::string>> read_state_file(const std::string& path, std::size_t longest);

// 0600. Makes the folder where it is missing.
Result<void> replace_state_file(const std::string& path, std::string_view text);

// Nothing to do where there is none.
Result<void> remove_state_file(const std::string& path);

}  // namespace underpass::state
