// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/map_access.h"

#include <cerrno>
#include <string>

namespace underpass::dataplane {

std::uint32_t capacity_of(int fd) {
  bpf_map_info info{};
  __u32 size = sizeof(info);
  return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.max_entries : 0;
}

Result<void> write_map(int fd, const char* map, const void* key, const void* value) {
  if (bpf_map_update_elem(fd, key, value, BPF_ANY) == 0) return {};
  // Of an LPM trie ENOSPC, of a hash E2BIG.
  if (errno == E2BIG || errno == ENOSPC)
    return fail(std::string(map) + " is full (" + std::to_string(capacity_of(fd)) + " entries)");
  return fail_errno(std::string("write ") + map);
}

}  // namespace underpass::dataplane
