// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/sandbox/syscall_filter.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "underpass/abi.h"

namespace underpass::sandbox {
namespace {

// Whatever their arguments. The kernel knows of these without running the filter (since Linux 5.11), so the calls of
// the data path cost nothing.
constexpr int kAllowed[] = {
    // bytes and connections
    SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(recvfrom), SCMP_SYS(sendto),
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(close), SCMP_SYS(dup3),
    SCMP_SYS(fstat), SCMP_SYS(newfstatat),
    // waiting
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_settime), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(restart_syscall), SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    // memory; what maps or changes pages has a filter below
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
    // threads
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack), SCMP_SYS(getrandom), SCMP_SYS(exit), SCMP_SYS(exit_group)};

class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM)), &::seccomp_release) {
    if (!context_) {
      note(-ENOMEM, "seccomp_init");
      return;
    }
    note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1), "TSYNC");
    // A binary tree; without it the last rule costs as many comparisons as there are calls.
    note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "OPTIMIZE");
  }

  void allow(int call) { note(::seccomp_rule_add_array(context_.get(), SCMP_ACT_ALLOW, call, 0, nullptr), call); }
  template <typename... Arguments>
  void allow(int call, Arguments... arguments) {
    const scmp_arg_cmp all[] = {arguments...};
    note(::seccomp_rule_add_array(context_.get(), SCMP_ACT_ALLOW, call, sizeof...(arguments), all), call);
  }
  void refuse(int call, int error) {
    note(::seccomp_rule_add_array(context_.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)), call, 0, nullptr),
         call);
  }

  Result<void> load() {
    if (problem_.empty()) note(::seccomp_load(context_.get()), "load");
    if (!problem_.empty()) return fail(problem_);
    return {};
  }

 private:
  void note(int done, int call) {
    if (done != 0) note(done, ("system call " + std::to_string(call)).c_str());
  }
  void note(int done, const char* what) {
    if (done != 0 && problem_.empty()) problem_ = fail_errno(std::string("seccomp: ") + what, -done).error().message;
  }

  std::unique_ptr<void, decltype(&::seccomp_release)> context_;
  std::string problem_;
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}
// Of an int: its upper half is whatever the register held.
scmp_arg_cmp int_equals(unsigned argument, std::uint32_t value) { return masked(argument, 0xffffffffull, value); }
scmp_arg_cmp has_none(unsigned argument, std::uint64_t bits) { return masked(argument, bits, 0); }

void allow_memory_and_threads(Filter& filter) {
  // No page that can be written, and none at all, becomes code.
  filter.allow(SCMP_SYS(mmap), has_none(2, PROT_EXEC));
  filter.allow(SCMP_SYS(mprotect), has_none(2, PROT_EXEC));
  // Threads yes, processes and namespaces no. The flags of clone3 are in memory, where no filter sees them: libc takes
  // clone where there is no clone3.
  constexpr std::uint64_t kThread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
  constexpr std::uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
                                        CLONE_NEWPID | CLONE_NEWUSER | CLONE_NEWTIME;
  filter.allow(SCMP_SYS(clone), masked(0, kThread | kNamespaces, kThread));
  filter.refuse(SCMP_SYS(clone3), ENOSYS);
  // abort() of this process.
  filter.allow(SCMP_SYS(tgkill), int_equals(0, static_cast<std::uint32_t>(::getpid())));
  filter.allow(SCMP_SYS(prctl), int_equals(0, PR_SET_NAME));
  // getrlimit of this process.
  filter.allow(SCMP_SYS(prlimit64), int_equals(0, 0), equals(2, 0));
}

void allow_options(Filter& filter) {
  for (const int command : {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GET_SEALS})
    filter.allow(SCMP_SYS(fcntl), int_equals(1, static_cast<std::uint32_t>(command)));
  for (const unsigned request : {FIONBIO, FIONREAD}) filter.allow(SCMP_SYS(ioctl), int_equals(1, request));

  const auto option = [&](int level, int name) {
    filter.allow(SCMP_SYS(setsockopt), int_equals(1, static_cast<std::uint32_t>(level)),
                 int_equals(2, static_cast<std::uint32_t>(name)));
  };
  option(SOL_IP, UP_SO_CARRIES);
  option(SOL_IP, UP_SO_ERRAND);
  option(SOL_IP, UP_SO_CLIENT);
  option(SOL_SOCKET, SO_LINGER);
  for (const int name : {TCP_NODELAY, TCP_USER_TIMEOUT, TCP_QUICKACK}) option(IPPROTO_TCP, name);
}

}  // namespace

Result<void> load_syscall_filter() {
  Filter filter;
  for (const int call : kAllowed) filter.allow(call);
  allow_memory_and_threads(filter);
  allow_options(filter);
  return filter.load();
}

}  // namespace underpass::sandbox
