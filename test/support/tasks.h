// SPDX-License-Identifier: Apache-2.0
// Threads whose place in the kernel a test must know: "the reader sleeps in recv()" is a condition to wait for.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <exception>
#include <functional>
#include <thread>

#include "test/support/eventually.h"

namespace underpass::test {

// A thread that says its id. The destructor joins it; a test that fails in the middle must not hang there, so it first
// shuts down `socket`, the one that the thread may sleep on.
class Task {
 public:
  explicit Task(std::function<void()> body, int socket = -1);
  ~Task();
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // Throws what the body has thrown.
  void join();
  // To this thread alone.
  void signal(int number) const;
  [[nodiscard]] bool done() const { return done_.load(); }
  // Asleep inside this system call (SYS_recvfrom, …).
  [[nodiscard]] bool sleeps_in(long call) const;
  [[nodiscard]] bool eventually_sleeps_in(long call, milliseconds deadline = seconds(10)) const {
    return eventually(deadline, [&] { return sleeps_in(call); });
  }

 private:
  std::atomic<pid_t> tid_ = 0;
  std::atomic<bool> done_ = false;
  std::exception_ptr thrown_;
  const int socket_;
  std::thread thread_;
};

}  // namespace underpass::test
