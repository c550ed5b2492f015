// SPDX-License-Identifier: Apache-2.0
// What the kernel spends on queued bytes, from the three places where it can be seen. None is complete: sockets count
// payload and packets, slab counts the kernel's own objects (a queued message is one, of about 1 KiB), and only the
// machine's free memory holds both and the pages between them, together with whatever else runs on the machine.
#pragma once

#include <cstdint>

namespace underpass::test {

struct KernelMemory {
  std::uint64_t unavailable = 0;      // MemTotal - MemAvailable
  std::uint64_t slab = 0;             // SUnreclaim
  std::uint64_t message_objects = 0;  // live objects of kmalloc-1k and kmalloc-cg-1k, where struct sk_msg lives
};
KernelMemory kernel_memory();

// What the socket holds for reading and for sending, in bytes of kernel memory (SO_MEMINFO).
struct SocketMemory {
  std::uint64_t receive = 0;  // sk_rmem_alloc
  std::uint64_t send = 0;     // sk_wmem_queued
};
SocketMemory socket_memory(int fd);

}  // namespace underpass::test
