// SPDX-License-Identifier: Apache-2.0
// What the typed maps have in common.
#pragma once

#include <bpf/bpf.h>

#include "underpass/result.h"

namespace underpass::dataplane {

// One entry, new or in the place of another. `map` is its name, for the message: "up_x is full (1024 entries)".
Result<void> write_map(int fd, const char* map, const void* key, const void* value);

std::uint32_t capacity_of(int fd);

// Of a table that is not being written.
template <typename Key, typename Visit>
void for_each_key(int fd, Visit visit) {
  Key key{};
  for (const void* at = nullptr; bpf_map_get_next_key(fd, at, &key) == 0; at = &key) visit(key);
}

}  // namespace underpass::dataplane
