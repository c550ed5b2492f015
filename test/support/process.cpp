// SPDX-License-Identifier: Apache-2.0
#include "test/support/process.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace {

UniqueFd memory_file(const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) throw_errno("memfd_create");
  return fd;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string folders = std::string(path != nullptr ? path : "") + ":/usr/sbin:/sbin:/usr/bin:/bin:";
  for (std::size_t begin = 0, end; (end = folders.find(':', begin)) != std::string::npos; begin = end + 1) {
    const std::string candidate = folders.substr(begin, end - begin) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  throw std::runtime_error("program " + name + ": not found in PATH");
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& string : strings) out.push_back(string.data());
  out.push_back(nullptr);
  return out;
}

// Everything the child needs, made before the fork: the test process has threads, so the child may only make system
// calls until it has exec'd.
struct Prepared {
  std::string program;
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::vector<char*> argv_pointers;
  std::vector<char*> env_pointers;
  UniqueFd netns;
  UniqueFd cgroup_procs;
  UniqueFd in;
  int out = -1;
  int err = -1;
  std::vector<int> drop;
  bool die_with_parent = false;
  pid_t parent = 0;
};

// Returns the name of the step that failed, errno says why.
const char* become(const Prepared& p) {
  if (p.die_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != p.parent) ::_exit(127);
  }
  if (p.cgroup_procs && ::write(p.cgroup_procs.get(), "0", 1) != 1) return "write cgroup.procs";
  if (p.netns && ::setns(p.netns.get(), CLONE_NEWNET) != 0) return "setns";
  for (const int capability : p.drop) {
    if (::prctl(PR_CAPBSET_DROP, capability) != 0) return "drop capability";
  }
  if (::dup2(p.in.get(), 0) < 0 || ::dup2(p.out, 1) < 0 || ::dup2(p.err, 2) < 0) return "dup2";
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execve(p.program.c_str(), p.argv_pointers.data(), p.env_pointers.data());
  return "exec";
}

}  // namespace

std::string Exit::to_string() const {
  return signal != 0 ? "killed by signal " + std::to_string(signal) : "exit code " + std::to_string(code);
}

Process::Process(const Command& command) {
  Prepared p;
  p.program = find_program(command.argv.at(0));
  p.argv = command.argv;
  for (char** variable = environ; *variable != nullptr; ++variable) p.env.emplace_back(*variable);
  p.env.insert(p.env.end(), command.env.begin(), command.env.end());
  p.argv_pointers = pointers(p.argv);
  p.env_pointers = pointers(p.env);
  if (!command.netns.empty()) p.netns = open_file(command.netns, O_RDONLY);
  if (!command.cgroup.empty()) p.cgroup_procs = open_file(command.cgroup + "/cgroup.procs", O_WRONLY);
  p.in = memory_file("stdin");
  if (!command.input.empty()) {
    if (::write(p.in.get(), command.input.data(), command.input.size()) < 0) throw_errno("write stdin");
    ::lseek(p.in.get(), 0, SEEK_SET);
  }
  out_ = command.output.empty() ? memory_file("stdout") : open_file(command.output, O_RDWR);
  err_ = memory_file("stderr");
  ::fcntl(out_.get(), F_SETFL, O_APPEND);
  ::fcntl(err_.get(), F_SETFL, O_APPEND);
  p.out = out_.get();
  p.err = err_.get();
  p.drop = command.drop_capabilities;
  p.parent = ::getpid();
  p.die_with_parent = ::gettid() == p.parent;  // the signal comes when the forking *thread* ends

  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) throw_errno("pipe2");
  const UniqueFd report_read(report[0]);
  UniqueFd report_write(report[1]);
  pid_ = ::fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ == 0) {
    struct Failure {
      const char* step;
      int error;
    } failure{become(p), 0};
    failure.error = errno;
    [[maybe_unused]] const ssize_t n = ::write(report_write.get(), &failure, sizeof failure);
    ::_exit(127);
  }
  report_write.reset();
  pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  struct {
    const char* step;
    int error;
  } failure{};
  if (::read(report_read.get(), &failure, sizeof failure) == sizeof failure) {
    reap(0);
    throw_errno(p.program + ": " + failure.step, failure.error);
  }
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)),
      exit_(other.exit_) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    if (running()) kill();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    out_ = std::move(other.out_);
    err_ = std::move(other.err_);
    exit_ = other.exit_;
  }
  return *this;
}

Process::~Process() {
  if (running()) kill();
}

void Process::reap(int options) {
  if (pid_ < 0 || exit_) return;
  int status = 0;
  if (::waitpid(pid_, &status, options) != pid_) return;
  exit_ = WIFSIGNALED(status) ? Exit{-1, WTERMSIG(status)} : Exit{WEXITSTATUS(status), 0};
}

bool Process::running() {
  reap(WNOHANG);
  return pid_ >= 0 && !exit_;
}

std::optional<Exit> Process::wait(milliseconds deadline) {
  pollfd ended{pidfd_.get(), POLLIN, 0};
  if (!exit_ && ::poll(&ended, 1, static_cast<int>(deadline.count())) == 1) reap(0);
  return exit_;
}

void Process::signal(int number) {
  if (running()) ::kill(pid_, number);
}

void Process::kill() {
  signal(SIGKILL);
  reap(0);
}

std::string Process::out() const { return read_fd(out_.get()); }
std::string Process::err() const { return read_fd(err_.get()); }

Finished run(const Command& command, milliseconds deadline) {
  Process process(command);
  const std::optional<Exit> exit = process.wait(deadline);
  if (!exit) {
    throw std::runtime_error(command.argv.at(0) + ": still running after " + std::to_string(deadline.count()) +
                             " ms; it wrote: " + process.out() + process.err());
  }
  return {*exit, process.out(), process.err()};
}

std::string run_ok(const Command& command, milliseconds deadline) {
  const Finished done = run(command, deadline);
  if (!done.exit.ok()) {
    std::string line;
    for (const std::string& word : command.argv) line += word + " ";
    throw std::runtime_error(line + "(" + command.input + "): " + done.exit.to_string() + ": " + done.out + done.err);
  }
  return done.out;
}

}  // namespace underpass::test
