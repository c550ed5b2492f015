// SPDX-License-Identifier: Apache-2.0
// send() and recv() as ordinary programs make them: nothing between the measurement and the system call.
#pragma once

#include <cstddef>
#include <span>

#include "underpass/unique_fd.h"

namespace underpass::bench {

// How a reader waits: asleep in recv(), or in poll() before a recv() that does not wait, as event loops do.
enum class Wait { kInRecv, kInPoll };

void set_nodelay(const UniqueFd& fd);
UniqueFd accept_one(const UniqueFd& listener);

// All of it; false: the peer closed. Throw on an error.
bool write_all(const UniqueFd& fd, std::span<const std::byte> bytes);
bool read_all(const UniqueFd& fd, std::span<std::byte> bytes, Wait wait = Wait::kInRecv);
// What there is, at least one byte; 0: the peer closed.
std::size_t read_some(const UniqueFd& fd, std::span<std::byte> bytes, Wait wait);

}  // namespace underpass::bench
