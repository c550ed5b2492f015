// SPDX-License-Identifier: Apache-2.0
// A child process: started in a network namespace and a cgroup of choice, its output captured, waited for with a
// deadline, always killed and reaped by the destructor. A child started by the main thread dies with the test process.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "test/support/eventually.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

// How a process ended.
struct Exit {
  int code = -1;   // -1: by a signal
  int signal = 0;  // 0: by itself

  [[nodiscard]] bool ok() const { return code == 0; }
  [[nodiscard]] std::string to_string() const;
};

struct Command {
  std::vector<std::string> argv;         // argv[0] is looked up in PATH unless it holds a slash
  std::vector<std::string> env{};        // NAME=value, in addition to the environment of the test
  std::string netns{};                   // path of the network namespace; empty: the caller's
  std::string cgroup{};                  // folder of the cgroup; empty: the caller's
  std::string input{};                   // what it finds on its standard input
  std::string output{};                  // file for what it writes on its standard output; empty: kept, for out()
  std::vector<int> drop_capabilities{};  // CAP_... that it can never have
};

class Process {
 public:
  // Throws if the program cannot be started at all (the reason of a failed exec included).
  explicit Process(const Command& command);
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool running();
  // The end of the process, if it comes before the deadline.
  std::optional<Exit> wait(milliseconds deadline);
  void signal(int number);
  // SIGKILL, and reaped.
  void kill();

  // What it has written so far.
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;

 private:
  void reap(int options);

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd out_;
  UniqueFd err_;
  std::optional<Exit> exit_;
};

// A program that runs to its end.
struct Finished {
  Exit exit;
  std::string out;
  std::string err;
};

// Throws when it has not ended at the deadline.
Finished run(const Command& command, milliseconds deadline = seconds(30));
// Throws with its output unless it ends with 0; returns what it wrote.
std::string run_ok(const Command& command, milliseconds deadline = seconds(30));

}  // namespace underpass::test
