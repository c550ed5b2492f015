// SPDX-License-Identifier: Apache-2.0
// Where access lines of all threads come together: one descriptor, written without ever waiting for its reader. What it
// does not take is kept up to a bound; lines beyond that are lost and counted. A line is written whole, or later.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace underpass::log {

class AccessLog {
 public:
  static constexpr std::size_t kMost = 1UL << 20;  // bytes that wait for the reader

  // Makes `fd` non-blocking, and does not own it.
  explicit AccessLog(int fd, std::size_t most = kMost);

  // Takes `lines`, whole ones, and leaves it empty with its memory. Nothing at all: tries again with what waits. True
  // where something waits afterwards: somebody is to try again soon.
  bool append(std::string& lines);

  [[nodiscard]] std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  void write_waiting();

  int fd_;
  std::size_t most_;
  std::mutex mutex_;
  std::string waiting_;  // may begin in the middle of a line that is half written
  std::size_t begin_ = 0;
  std::atomic<std::uint64_t> lost_ = 0;
};

}  // namespace underpass::log
