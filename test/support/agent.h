// SPDX-License-Identifier: Apache-2.0
// The real underpassd on a sandbox's ground.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "test/support/process.h"
#include "test/support/sandbox.h"

namespace underpass::test {

inline constexpr const char* kNode = "node-a";  // --node-name, unless a test says otherwise

// What an agent that is well becomes: "ready", or what UNDERPASS_STATE says: on some kernels it is always degraded.
std::string usual_state();

class Agent {
 public:
  struct Options {
    std::string node = kNode;
    std::string program = "underpassd";  // of the build
    std::string source{};                // empty: dir:<objects of the sandbox>; and so for the folders below
    std::string cgroup_root{};
    std::string bpffs{};
    std::string run_dir{};
    std::string state_dir{};
    std::string metrics = "127.0.0.1:0";
    std::string ready = "127.0.0.1:0";
    // As on processors where watchpoints cost nothing: a test is not about speed. The benchmark says "auto".
    std::string watchpoints = "always";
    std::vector<std::string> more{};  // further arguments
    std::string cgroup{};             // where it is started; empty: where the test is
    std::string netns{};              // path of the network namespace that it takes for the node's own
    std::vector<int> drop_capabilities{};
    std::string output{};  // file for the access log; empty: kept, for log()
  };

  explicit Agent(const Sandbox& sandbox) : Agent(sandbox, Options{}) {}
  Agent(const Sandbox& sandbox, Options options);
  // Shows the log where a test throws: what it says of itself is how it ended, not why.
  ~Agent();
  Agent(Agent&&) = default;

  // Starts it and does not wait: for agents that are to refuse.
  void launch();
  // Starts it and waits until `status` says so; throws with its log if that does not come.
  void start(const std::string& state = usual_state(), milliseconds deadline = seconds(30));
  void kill9();
  // SIGTERM; throws when it does not end with 0.
  void stop(milliseconds deadline = seconds(15));
  // Starts an agent that is to refuse: its end, empty if it keeps running for `deadline`.
  std::optional<Exit> refusal(milliseconds deadline = seconds(15));

  [[nodiscard]] bool running() { return process_ && process_->running(); }
  [[nodiscard]] pid_t pid() const { return process_->pid(); }
  // How it ended, if it has.
  [[nodiscard]] std::optional<Exit> ended() { return process_->wait(milliseconds(0)); }
  // Everything the agent (and those before it) wrote.
  [[nodiscard]] std::string log() const;

 private:
  void end();

  const Sandbox& sandbox_;
  Options options_;
  std::optional<Process> process_;
  std::string log_before_;
};

}  // namespace underpass::test
