// SPDX-License-Identifier: Apache-2.0
#include "test/semantics/uring.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "test/semantics/observe.h"
#include "test/semantics/scene.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

// A number that the kernel reads or writes at the same time.
std::atomic_ref<unsigned> shared(char* ring, unsigned offset) {
  return std::atomic_ref<unsigned>(*reinterpret_cast<unsigned*>(ring + offset));
}

}  // namespace

Uring::Uring() {
  fd_.reset(static_cast<int>(::syscall(SYS_io_uring_setup, kEntries, &params_)));
  if (!fd_) throw Skip("io_uring_setup: " + outcome(-1));
  if ((params_.features & IORING_FEAT_SINGLE_MMAP) == 0) throw Skip("io_uring before Linux 5.4");
  rings_size_ = std::max<std::size_t>(params_.sq_off.array + params_.sq_entries * sizeof(unsigned),
                                      params_.cq_off.cqes + params_.cq_entries * sizeof(io_uring_cqe));
  void* rings =
      ::mmap(nullptr, rings_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(), IORING_OFF_SQ_RING);
  if (rings == MAP_FAILED) throw_errno("mmap of the rings");
  rings_ = static_cast<char*>(rings);
  void* entries = ::mmap(nullptr, params_.sq_entries * sizeof(io_uring_sqe), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, fd_.get(), IORING_OFF_SQES);
  if (entries == MAP_FAILED) throw_errno("mmap of the entries");
  entries_ = static_cast<io_uring_sqe*>(entries);
}

Uring::~Uring() {
  if (entries_ != nullptr) ::munmap(entries_, params_.sq_entries * sizeof(io_uring_sqe));
  if (rings_ != nullptr) ::munmap(rings_, rings_size_);
}

void Uring::submit(const io_uring_sqe& entry) {
  const unsigned tail = shared(rings_, params_.sq_off.tail).load();
  const unsigned slot = tail & (params_.sq_entries - 1);
  entries_[slot] = entry;
  reinterpret_cast<unsigned*>(rings_ + params_.sq_off.array)[slot] = slot;
  shared(rings_, params_.sq_off.tail).store(tail + 1);
  if (::syscall(SYS_io_uring_enter, fd_.get(), 1, 0, 0, nullptr, 0) != 1) throw_errno("io_uring_enter");
}

std::optional<Completion> Uring::next(milliseconds deadline) {
  const unsigned head = shared(rings_, params_.cq_off.head).load();
  if (head == shared(rings_, params_.cq_off.tail).load()) {
    (void)poll_for(fd_.get(), POLLIN, deadline);
    // Work that waits for this task is done when it enters the kernel.
    (void)::syscall(SYS_io_uring_enter, fd_.get(), 0, 0, IORING_ENTER_GETEVENTS, nullptr, 0);
  }
  if (head == shared(rings_, params_.cq_off.tail).load()) return std::nullopt;
  const io_uring_cqe& entry =
      reinterpret_cast<io_uring_cqe*>(rings_ + params_.cq_off.cqes)[head & (params_.cq_entries - 1)];
  const Completion got{.res = entry.res, .flags = entry.flags};
  shared(rings_, params_.cq_off.head).store(head + 1);
  return got;
}

}  // namespace underpass::test
