// SPDX-License-Identifier: Apache-2.0
#include "test/support/agent.h"

#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <utility>

#include "test/support/ctl.h"

namespace underpass::test {
namespace {

std::string or_default(const std::string& given, const std::string& otherwise) {
  return given.empty() ? otherwise : given;
}

}  // namespace

std::string usual_state() {
  const char* state = std::getenv("UNDERPASS_STATE");
  return state != nullptr ? state : "ready";
}

Agent::Agent(const Sandbox& sandbox, Options options) : sandbox_(sandbox), options_(std::move(options)) {}

Agent::~Agent() {
  if (std::uncaught_exceptions() == 0 || !process_ || process_->pid() < 0) return;
  constexpr std::size_t kMost = 6000;
  const std::string text = log();
  std::cout << "the agent's log:\n" << (text.size() <= kMost ? text : "…" + text.substr(text.size() - kMost)) << '\n';
}

void Agent::launch() {
  if (process_) end();
  Command command{.argv = {built_program(options_.program), "--source",
                           or_default(options_.source, "dir:" + sandbox_.objects().string()), "--node-name",
                           options_.node, "--cgroup-root", or_default(options_.cgroup_root, sandbox_.cgroup()),
                           "--bpffs", or_default(options_.bpffs, sandbox_.bpffs()), "--run-dir",
                           or_default(options_.run_dir, sandbox_.run_dir()), "--state-dir",
                           or_default(options_.state_dir, sandbox_.state_dir()), "--metrics", options_.metrics,
                           "--ready", options_.ready, "--watchpoints", options_.watchpoints},
                  .netns = options_.netns,
                  .cgroup = options_.cgroup,
                  .output = options_.output,
                  .drop_capabilities = options_.drop_capabilities};
  command.argv.insert(command.argv.end(), options_.more.begin(), options_.more.end());
  process_.emplace(command);
}

void Agent::start(const std::string& state, milliseconds deadline) {
  launch();
  const Ctl ctl(sandbox_);
  const bool ready = eventually(deadline, [&] { return !running() || ctl.state() == state; });
  if (!ready || !running()) throw std::runtime_error("underpassd did not become " + state + "; its log:\n" + log());
}

void Agent::end() {
  process_->kill();
  log_before_ += process_->out() + process_->err();
  process_.reset();
}

void Agent::kill9() { end(); }

void Agent::stop(milliseconds deadline) {
  process_->signal(SIGTERM);
  const std::optional<Exit> exit = process_->wait(deadline);
  end();
  if (!exit || !exit->ok()) {
    throw std::runtime_error("underpassd after SIGTERM: " + (exit ? exit->to_string() : "still running") + "\n" +
                             log());
  }
}

std::optional<Exit> Agent::refusal(milliseconds deadline) {
  launch();
  const std::optional<Exit> exit = process_->wait(deadline);
  end();
  return exit;
}

std::string Agent::log() const { return process_ ? log_before_ + process_->out() + process_->err() : log_before_; }

}  // namespace underpass::test
