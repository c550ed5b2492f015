// SPDX-License-Identifier: Apache-2.0
// Blocking send() and recv() as an ordinary program makes them: nothing between the measurement and the system call.
#pragma once

#include <cstddef>
#include <span>

#include "underpass/unique_fd.h"

namespace underpass::bench {

void set_nodelay(const UniqueFd& fd);
UniqueFd accept_one(const UniqueFd& listener);

// All of it; false: the peer closed. Throw on an error.
bool write_all(const UniqueFd& fd, std::span<const std::byte> bytes);
bool read_all(const UniqueFd& fd, std::span<std::byte> bytes);

}  // namespace underpass::bench
