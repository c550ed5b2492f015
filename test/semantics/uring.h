// SPDX-License-Identifier: Apache-2.0
// As much of io_uring as the behaviours need, on the bare system calls: one entry is submitted at a time, completions
// are waited for with a deadline.
#pragma once

#include <linux/io_uring.h>

#include <cstdint>
#include <optional>

#include "test/support/eventually.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// Of struct io_uring_cqe.
struct Completion {
  int res;
  unsigned flags;
};

class Uring {
 public:
  // Throws Skip where the machine refuses.
  Uring();
  ~Uring();
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  // Hands one entry to the kernel.
  void submit(const io_uring_sqe& entry);
  // The next completion, if it comes before the deadline.
  std::optional<Completion> next(milliseconds deadline);

 private:
  static constexpr unsigned kEntries = 64;

  UniqueFd fd_;
  io_uring_params params_{};
  char* rings_ = nullptr;
  std::size_t rings_size_ = 0;
  io_uring_sqe* entries_ = nullptr;
};

}  // namespace underpass::test
