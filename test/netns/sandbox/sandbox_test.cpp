// SPDX-License-Identifier: Apache-2.0
// What a process can still do in the sandbox: it enters it for real, in a child, and tries. Needs root.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "test/support/temp_folder.h"
#include "underpass/abi.h"
#include "underpass/unique_fd.h"
#include "userspace_proxy/sandbox/sandbox.h"

using namespace underpass;

namespace {

using Attempt = std::function<long()>;  // as a system call: -1 and errno, or success
using Attempts = std::vector<std::pair<std::string, Attempt>>;

std::string outcome_of(const Attempt& attempt) {
  errno = 0;
  return attempt() == -1 ? ::strerrorname_np(errno) : "done";
}

// Enters the sandbox in a child and makes the attempts there, each by its name; "" is how entering went.
std::map<std::string, std::string> in_sandbox(const Attempts& attempts) {
  std::array<int, 2> pipe{};
  test::require(::pipe2(pipe.data(), O_CLOEXEC) == 0, "pipe");
  UniqueFd reads(pipe[0]);
  UniqueFd writes(pipe[1]);
  const pid_t child = ::fork();
  test::require(child >= 0, "fork");
  if (child == 0) {
    const auto entered = sandbox::enter_sandbox({});
    const auto tell = [&](const std::string& name, const std::string& outcome) {
      const std::string line = name + "=" + outcome + "\n";
      (void)!::write(writes.get(), line.data(), line.size());
    };
    tell("", entered ? "done" : entered.error().message);
    if (entered)
      for (const auto& [name, attempt] : attempts) tell(name, outcome_of(attempt));
    ::_exit(0);
  }
  writes.reset();
  std::string text;
  std::array<char, 4096> chunk{};
  for (ssize_t got = 0; (got = ::read(reads.get(), chunk.data(), chunk.size())) > 0;)
    text.append(chunk.data(), static_cast<std::size_t>(got));
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  std::map<std::string, std::string> outcomes;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    outcomes[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
    text.erase(0, line.size() + 1);
  }
  return outcomes;
}

long try_syscall(long number, auto... arguments) { return ::syscall(number, arguments...); }

}  // namespace

TEST_CASE("proxy sandbox: what a worker has no use for is refused") {
  const pid_t parent = ::getpid();
  static char page[8192];
  const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  const auto option = [&](int level, int name) {
    return [&tcp, &on, level, name] { return long{::setsockopt(tcp.get(), level, name, &on, sizeof(on))}; };
  };
  bpf_attr attr{};
  clone_args args{};
  const Attempts attempts{
      {"open", [] { return ::open("/", O_RDONLY); }},
      {"openat2", [] { return try_syscall(SYS_openat2, AT_FDCWD, "/", nullptr, 0); }},
      {"socket", [] { return ::socket(AF_INET, SOCK_STREAM, 0); }},
      {"socketpair",
       [] {
         std::array<int, 2> fds{};
         return ::socketpair(AF_UNIX, SOCK_STREAM, 0, fds.data());
       }},
      {"bind", [&] { return ::bind(tcp.get(), nullptr, 0); }},
      {"listen", [&] { return ::listen(tcp.get(), 1); }},
      {"execve", [] { return ::execl("/bin/true", "true", nullptr); }},
      {"fork", [] { return ::fork(); }},
      {"vfork", [] { return try_syscall(SYS_vfork); }},
      {"clone3", [&] { return try_syscall(SYS_clone3, &args, sizeof(args)); }},
      {"clone newuser",
       [] { return try_syscall(SYS_clone, CLONE_NEWUSER | CLONE_THREAD | CLONE_VM | CLONE_SIGHAND, 0, 0, 0, 0); }},
      {"kill parent", [=] { return ::kill(parent, 0); }},
      {"kill all", [] { return ::kill(-1, 0); }},
      {"tgkill parent", [=] { return try_syscall(SYS_tgkill, parent, parent, 0); }},
      {"ptrace", [=] { return ::ptrace(PTRACE_ATTACH, parent, nullptr, nullptr); }},
      {"process_vm_readv", [=] { return try_syscall(SYS_process_vm_readv, parent, 0, 0, 0, 0, 0); }},
      {"pidfd_open", [=] { return try_syscall(SYS_pidfd_open, parent, 0); }},
      {"pidfd_getfd", [] { return try_syscall(SYS_pidfd_getfd, 0, 0, 0); }},
      {"unshare", [] { return ::unshare(CLONE_NEWUSER); }},
      {"setns", [] { return ::setns(0, 0); }},
      {"mount", [] { return ::mount("none", "/", "tmpfs", 0, nullptr); }},
      {"chroot", [] { return ::chroot("/"); }},
      {"bpf", [&] { return try_syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)); }},
      {"perf_event_open", [] { return try_syscall(SYS_perf_event_open, 0, 0, 0, 0, 0); }},
      {"io_uring_setup", [] { return try_syscall(SYS_io_uring_setup, 1, page); }},
      {"userfaultfd", [] { return try_syscall(SYS_userfaultfd, 0); }},
      {"keyctl", [] { return try_syscall(SYS_keyctl, 0, 0, 0, 0, 0); }},
      {"memfd_create", [] { return ::memfd_create("x", 0); }},
      {"setuid", [] { return ::setuid(0); }},
      {"setrlimit",
       [] {
         const rlimit none{};
         return ::setrlimit(RLIMIT_NOFILE, &none);
       }},
      {"mmap exec",
       [] {
         return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
       }},
      {"mprotect exec", [] { return ::mprotect(page, 4096, PROT_READ | PROT_EXEC); }},
      {"prctl dumpable", [] { return ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }},
      {"ioctl", [&] { return try_syscall(SYS_ioctl, tcp.get(), 0x8913 /* SIOCGIFFLAGS */, page); }},
      {"fcntl F_SETOWN", [&] { return ::fcntl(tcp.get(), F_SETOWN, parent); }},
      {"SO_REUSEPORT", option(SOL_SOCKET, SO_REUSEPORT)},
      {"SO_MARK", option(SOL_SOCKET, SO_MARK)},
      {"IP_TRANSPARENT", option(SOL_IP, 19)},
      {"SO_ATTACH_BPF", option(SOL_SOCKET, SO_ATTACH_BPF)},
      {"TCP_ULP", option(6, 31)},
  };
  auto outcomes = in_sandbox(attempts);
  CHECK(outcomes[""] == "done");
  for (const auto& [name, attempt] : attempts) {
    CAPTURE(name);
    CHECK(outcomes[name] == (name == "clone3" ? "ENOSYS" : "EPERM"));
  }
}

TEST_CASE("proxy sandbox: what a worker needs works") {
  const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  const std::uint64_t id = 1;
  const Attempts attempts{
      {"thread",
       [] {
         int done = -1;
         std::thread([&] { done = 0; }).join();
         return done;
       }},
      {"memory",
       [] {
         std::string much(64UL << 20, 'x');
         return much.back() == 'x' ? 0 : -1;
       }},
      {"linger", [&] { return ::setsockopt(tcp.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); }},
      // The kernel's own answer, not the filter's: nobody attached the program here.
      {"UP_SO_CARRIES", [&] { return ::setsockopt(tcp.get(), SOL_IP, UP_SO_CARRIES, &id, sizeof(id)); }},
      {"no privileges to gain", [] { return ::prctl(PR_SET_NAME, "x") == 0 && ::getpid() > 0 ? 0 : -1; }},
      {"limit",
       [] {
         rlimit files{};
         return ::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur == files.rlim_max ? 0 : -1;
       }},
  };
  auto outcomes = in_sandbox(attempts);
  CHECK(outcomes[""] == "done");
  for (const auto& [name, attempt] : attempts) {
    CAPTURE(name);
    CHECK(outcomes[name] == (name == "UP_SO_CARRIES" ? "ENOPROTOOPT" : "done"));
  }
}

TEST_CASE("proxy sandbox: who is not root cannot enter, and is told at what it failed") {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    const auto entered = sandbox::enter_sandbox({});
    ::_exit(!entered && entered.error().message == "sandbox: unshare: Operation not permitted" ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}
