// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/self_test.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>

#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/detach.h"
#include "agent/dataplane/pins.h"
#include "agent/dataplane/self_test_cases.h"

namespace underpass::dataplane {
namespace {

constexpr auto kDeadlineMs = 10'000;

// The folders of one run, removed however it ends.
class Scratch {
 public:
  explicit Scratch(const SelfTestOptions& options)
      : cgroup_(options.cgroup_root + "/underpass-self-test-" + std::to_string(::getpid())),
        pins_(options.bpffs + "/underpass-self-test-" + std::to_string(::getpid())) {}
  ~Scratch() {
    remove_pins(pins_);
    ::rmdir(cgroup_.c_str());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  Result<void> make() const {
    if (::mkdir(cgroup_.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("create " + cgroup_);
    return {};
  }
  [[nodiscard]] const std::string& cgroup() const { return cgroup_; }
  [[nodiscard]] const std::string& pins() const { return pins_; }

 private:
  std::string cgroup_;
  std::string pins_;
};

Result<void> enter_cgroup(const std::string& cgroup) {
  std::ofstream procs(cgroup + "/cgroup.procs");
  procs << ::getpid() << std::flush;
  if (!procs) return fail("enter " + cgroup);
  return {};
}

Result<std::unique_ptr<Programs>> start_programs(const Scratch& scratch, const Programs::Fitness& fitness,
                                                 std::string& calls_problem) {
  auto programs = Programs::load(scratch.pins(), Programs::Purpose::kTest, fitness);
  if (!programs) return programs;
  auto& maps = (*programs)->maps();
  auto watch = (*programs)->watch(true);
  if (!watch) return std::unexpected(watch.error());
  calls_problem = watch->calls_problem;
  maps.add_pool(0);
  auto done = maps.set_config({.layout = UP_LAYOUT,
                               .short_circuit = 1,
                               .node_budget = 64u << 20,
                               .pod_budget = 64u << 20,
                               .dir_bytes = UP_DEFAULT_DIR_BYTES,
                               .dir_messages = UP_DEFAULT_DIR_MESSAGES,
                               .watched_ns = monotonic_ns()});
  if (done) done = (*programs)->attach(scratch.cgroup());
  if (!done) return std::unexpected(done.error());
  return programs;
}

// Runs `body` in a child that may leave the agent's cgroup and network namespace; what it writes comes back.
Result<std::string> in_child(const std::function<void(int out)>& body) {
  int fds[2] = {};
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd in(fds[0]);
  UniqueFd out(fds[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork");
  if (child == 0) {
    body(out.get());
    ::_exit(0);
  }
  out.reset();
  std::string text;
  bool late = false;
  for (;;) {
    pollfd waiting{.fd = in.get(), .events = POLLIN, .revents = 0};
    late = ::poll(&waiting, 1, kDeadlineMs) == 0;
    char buffer[4096];
    const ssize_t n = late ? 0 : ::read(in.get(), buffer, sizeof(buffer));
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  if (late) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (late) return fail("not finished after " + std::to_string(kDeadlineMs / 1000) + " s");
  return text;
}

// "name TAB result TAB reason", and "fionread-counts TAB bits".
SelfTest parse(const std::string& text) {
  SelfTest out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find('\t'), second = line.find('\t', first + 1);
    if (first == std::string::npos) continue;
    if (second == std::string::npos) {
      out.fionread_counts = static_cast<unsigned>(std::stoul(line.substr(first + 1)));
      continue;
    }
    out.rows.push_back({.name = line.substr(0, first),
                        .result = line.substr(first + 1, second - first - 1),
                        .reason = line.substr(second + 1)});
  }
  return out;
}

SelfTest not_run(const std::string& why) {
  return {.rows = {{.name = "self-test", .result = "tcp", .reason = "could not be run: " + why}}};
}

}  // namespace

SelfTest run_self_test(const SelfTestOptions& options, const Programs::Fitness& fitness) {
  const Scratch scratch(options);
  if (auto made = scratch.make(); !made) return not_run(made.error().message);
  std::string calls_problem;
  auto programs = start_programs(scratch, fitness, calls_problem);
  if (!programs) return not_run(programs.error().message);
  const bool calls_are_tested = fitness.calls != CallMeans::kNone && calls_problem.empty();

  auto text = in_child([&](int out) {
    std::string report;
    auto entered = enter_cgroup(scratch.cgroup());
    if (entered) {
      report = run_self_test_cases((*programs)->maps(), calls_are_tested, options.calls_watched_already);
    } else {
      report = "self-test\ttcp\tcould not be run: " + entered.error().message + "\n";
    }
    for (std::size_t at = 0; at < report.size();) {
      const ssize_t n = ::write(out, report.data() + at, report.size() - at);
      if (n <= 0) return;
      at += static_cast<std::size_t>(n);
    }
  });
  if (!text) return not_run(text.error().message);
  auto result = parse(*text);
  if (result.rows.empty()) return not_run("it ended without a word");
  return result;
}

}  // namespace underpass::dataplane
