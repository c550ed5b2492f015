// SPDX-License-Identifier: Apache-2.0
#include "test/support/kernel_memory.h"

#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <array>
#include <sstream>
#include <string>

#include "test/support/files.h"

namespace underpass::test {

KernelMemory kernel_memory() {
  KernelMemory out;
  std::istringstream meminfo(read_file("/proc/meminfo"));
  std::string name;
  std::uint64_t kib = 0;
  for (std::string line; std::getline(meminfo, line);) {
    std::istringstream(line) >> name >> kib;
    if (name == "MemTotal:") out.unavailable += kib * 1024;
    if (name == "MemAvailable:") out.unavailable -= kib * 1024;
    if (name == "SUnreclaim:") out.slab = kib * 1024;
  }
  std::istringstream slabs(read_file("/proc/slabinfo"));
  for (std::string line; std::getline(slabs, line);) {
    std::uint64_t active = 0;
    std::istringstream(line) >> name >> active;
    if (name == "kmalloc-1k" || name == "kmalloc-cg-1k") out.message_objects += active;
  }
  return out;
}

SocketMemory socket_memory(int fd) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> values{};
  socklen_t size = sizeof values;
  if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values.data(), &size) != 0) throw_errno("SO_MEMINFO");
  return {values[SK_MEMINFO_RMEM_ALLOC], values[SK_MEMINFO_WMEM_QUEUED]};
}

}  // namespace underpass::test
