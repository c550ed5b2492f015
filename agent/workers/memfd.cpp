// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace underpass::workers {

Result<UniqueFd> sealed_memfd(const char* name, std::string_view text) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno("memfd_create");
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno("write a memfd");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail_errno("seal a memfd");
  return fd;
}

}  // namespace underpass::workers
