// SPDX-License-Identifier: Apache-2.0
#include "test/support/tasks.h"

#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {

Task::Task(std::function<void()> body, int socket)
    : socket_(socket), thread_([this, run = std::move(body)] {
        tid_ = ::gettid();
        try {
          run();
        } catch (...) {
          thrown_ = std::current_exception();
        }
        done_ = true;
      }) {}

Task::~Task() {
  if (socket_ >= 0 && !done_ && thread_.joinable()) ::shutdown(socket_, SHUT_RDWR);
  if (thread_.joinable()) thread_.join();
}

void Task::join() {
  if (thread_.joinable()) thread_.join();
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void Task::signal(int number) const { ::tgkill(::getpid(), tid_, number); }

bool Task::sleeps_in(long call) const {
  if (tid_ == 0 || done_) return false;
  const std::string folder = "/proc/self/task/" + std::to_string(tid_);
  try {
    // "45 0x3 …" while it is blocked in call 45, "running" while it is not blocked.
    const std::string text = read_file(folder + "/syscall");
    if (text.starts_with("running") || std::atol(text.c_str()) != call) return false;
    const std::string stat = read_file(folder + "/stat");
    return stat.at(stat.rfind(')') + 2) == 'S';
  } catch (const std::exception&) {
    return false;  // it has just ended
  }
}

}  // namespace underpass::test
