// SPDX-License-Identifier: Apache-2.0
#include "test/netns/hostile/system_calls.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <map>

#include "test/netns/hostile/worker_socket.h"
#include "underpass/worker_protocol.h"

namespace underpass::test {
namespace {

using Try = std::function<long()>;

constexpr pid_t kSomebody = 1;  // in its own PID namespace that is itself: what is outside has no number there

Try open_path(const char* path) {
  return [path] { return ::syscall(SYS_openat, AT_FDCWD, path, O_RDONLY); };
}
Try make_socket(int family, int type, int protocol = 0) {
  return [=] { return ::syscall(SYS_socket, family, type, protocol); };
}
Try leave_to(unsigned long flags) {
  return [flags] { return ::syscall(SYS_unshare, flags); };
}
Try fork_into(unsigned long flags) {
  return [flags] {
    const long pid = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (pid == 0) ::_exit(0);
    return pid;
  };
}
Try load_bpf(int command) {
  return [command] {
    bpf_attr attributes{};
    return ::syscall(SYS_bpf, command, &attributes, sizeof(attributes));
  };
}
Try map_pages(int protection) {
  return [protection] {
    void* at = ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -1L : 0L;
  };
}
Try make_executable(int protection) {
  return [protection] {
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -1L : static_cast<long>(::mprotect(at, 4096, protection));
  };
}

long read_memory_of(pid_t pid) {
  char here = 0;
  iovec local{.iov_base = &here, .iov_len = 1}, remote{.iov_base = &here, .iov_len = 1};
  return ::syscall(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 0);
}

long new_process() {
  clone_args arguments{};
  arguments.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
  if (pid == 0) ::_exit(0);
  return pid;
}

long run_program() {
  char path[] = "/proc/self/exe";
  char* argv[] = {path, nullptr};
  return ::execve(path, argv, nullptr);
}

long count_events() {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  return ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

long make_ring() {
  io_uring_params parameters{};
  return ::syscall(SYS_io_uring_setup, 8, &parameters);
}

long take_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct all[_LINUX_CAPABILITY_U32S_3];
  for (auto& word : all) word = {.effective = ~0u, .permitted = ~0u, .inheritable = ~0u};
  return ::syscall(SYS_capset, &header, all);
}

long new_filter() {
  sock_filter let = BPF_STMT(BPF_RET | BPF_K, 0x7fff0000);
  sock_fprog program{.len = 1, .filter = &let};
  return ::syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 0, &program);
}

// Options of a socket that it has: of the control connection, since they are of no use elsewhere either.
Try set_option(int level, int name) {
  return [=] {
    const int on = 1;
    return static_cast<long>(::setsockopt(worker::kFirstAgentFd, level, name, &on, sizeof(on)));
  };
}

const std::map<std::string, Try>& tries() {
  static const std::map<std::string, Try> kTries{
      {"open /", open_path("/")},
      {"open /etc/passwd", open_path("/etc/passwd")},
      {"open /proc/self", open_path("/proc/self")},
      {"open /proc/1/mem", open_path("/proc/1/mem")},
      {"open /sys/fs/bpf", open_path("/sys/fs/bpf")},
      {"open /dev/null", open_path("/dev/null")},
      {"open .", open_path(".")},
      {"openat2", [] { return ::syscall(SYS_openat2, AT_FDCWD, "/", nullptr, 0); }},
      {"creat", [] { return ::syscall(SYS_openat, AT_FDCWD, "/new", O_CREAT | O_RDWR, 0600); }},
      {"open_by_handle_at", [] { return ::syscall(SYS_open_by_handle_at, AT_FDCWD, nullptr, O_RDONLY); }},
      {"memfd_create", [] { return ::syscall(SYS_memfd_create, "x", 0); }},
      {"mkdir", [] { return ::syscall(SYS_mkdirat, AT_FDCWD, "/x", 0700); }},
      {"process_vm_readv", [] { return read_memory_of(kSomebody); }},
      {"ptrace attach", [] { return ::syscall(SYS_ptrace, PTRACE_SEIZE, kSomebody, 0, 0); }},
      {"pidfd_open", [] { return ::syscall(SYS_pidfd_open, kSomebody, 0); }},
      {"pidfd_getfd", [] { return ::syscall(SYS_pidfd_getfd, worker::kFirstAgentFd, 0, 0); }},
      {"kcmp", [] { return ::syscall(SYS_kcmp, kSomebody, kSomebody, 0, 0, 0); }},
      {"unshare net", leave_to(CLONE_NEWNET)},
      {"unshare user", leave_to(CLONE_NEWUSER)},
      {"unshare mount", leave_to(CLONE_NEWNS)},
      {"setns", [] { return ::syscall(SYS_setns, worker::kFirstAgentFd, 0); }},
      {"fork", fork_into(0)},
      {"clone net", fork_into(CLONE_NEWNET)},
      {"clone user", fork_into(CLONE_NEWUSER)},
      {"clone3", [] { return new_process(); }},
      {"vfork", fork_into(CLONE_VM | CLONE_VFORK)},
      {"bpf map_create", load_bpf(BPF_MAP_CREATE)},
      {"bpf prog_load", load_bpf(BPF_PROG_LOAD)},
      {"bpf obj_get", load_bpf(BPF_OBJ_GET)},
      {"bpf map_get_fd_by_id", load_bpf(BPF_MAP_GET_FD_BY_ID)},
      {"socket inet", make_socket(AF_INET, SOCK_STREAM)},
      {"socket inet6", make_socket(AF_INET6, SOCK_STREAM)},
      {"socket udp", make_socket(AF_INET, SOCK_DGRAM)},
      {"socket raw", make_socket(AF_INET, SOCK_RAW, 6)},
      {"socket unix", make_socket(AF_UNIX, SOCK_STREAM)},
      {"socket netlink", make_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)},
      {"socket packet", make_socket(AF_PACKET, SOCK_RAW)},
      {"socket vsock", make_socket(AF_VSOCK, SOCK_STREAM)},
      {"socketpair",
       [] {
         int pair[2] = {};
         return ::syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
       }},
      {"setsockopt SO_MARK", set_option(SOL_SOCKET, SO_MARK)},
      {"setsockopt SO_BINDTODEVICE", set_option(SOL_SOCKET, SO_BINDTODEVICE)},
      {"setsockopt SO_ATTACH_FILTER", set_option(SOL_SOCKET, SO_ATTACH_FILTER)},
      {"setsockopt SO_REUSEADDR", set_option(SOL_SOCKET, SO_REUSEADDR)},
      {"setsockopt IP_TRANSPARENT", set_option(0, 19)},
      {"setsockopt IPV6_V6ONLY", set_option(41, 26)},
      {"setsockopt TCP_ULP", set_option(6, 31)},
      {"setsockopt TCP_REPAIR", set_option(6, 19)},
      {"setsockopt TCP_FASTOPEN_CONNECT", set_option(6, 30)},
      {"io_uring_setup", [] { return make_ring(); }},
      {"io_uring_enter", [] { return ::syscall(SYS_io_uring_enter, 0, 0, 0, 0, nullptr, 0); }},
      {"execve", [] { return run_program(); }},
      {"execveat", [] { return ::syscall(SYS_execveat, worker::kFirstAgentFd, "", nullptr, nullptr, AT_EMPTY_PATH); }},
      {"mmap exec", map_pages(PROT_READ | PROT_EXEC)},
      {"mmap write exec", map_pages(PROT_READ | PROT_WRITE | PROT_EXEC)},
      {"mprotect exec", make_executable(PROT_READ | PROT_EXEC)},
      {"pkey_mprotect exec", [] { return ::syscall(SYS_pkey_mprotect, nullptr, 0, PROT_EXEC, -1); }},
      {"personality", [] { return ::syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */); }},
      {"kill all", [] { return ::syscall(SYS_kill, -1, 0); }},
      {"kill group", [] { return ::syscall(SYS_kill, 0, 0); }},
      {"kill own", [] { return ::syscall(SYS_kill, kSomebody, 0); }},
      {"tgkill other", [] { return ::syscall(SYS_tgkill, 2, 2, 0); }},
      {"tkill", [] { return ::syscall(SYS_tkill, kSomebody, 0); }},
      {"rt_sigqueueinfo", [] { return ::syscall(SYS_rt_sigqueueinfo, kSomebody, 0, nullptr); }},
      {"keyctl", [] { return ::syscall(SYS_keyctl, 0, -3, 1); }},
      {"add_key", [] { return ::syscall(SYS_add_key, "user", "x", "y", 1, -3); }},
      {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, 0); }},
      {"perf_event_open", [] { return count_events(); }},
      {"mount", [] { return ::syscall(SYS_mount, "none", "/", "tmpfs", 0, nullptr); }},
      {"fsopen", [] { return ::syscall(SYS_fsopen, "tmpfs", 0); }},
      {"umount", [] { return ::syscall(SYS_umount2, "/", MNT_DETACH); }},
      {"chroot", [] { return ::syscall(SYS_chroot, "/"); }},
      {"pivot_root", [] { return ::syscall(SYS_pivot_root, ".", "."); }},
      {"setuid 0", [] { return ::syscall(SYS_setuid, 0); }},
      {"setresuid 0", [] { return ::syscall(SYS_setresuid, 0, 0, 0); }},
      {"setgroups", [] { return ::syscall(SYS_setgroups, 0, nullptr); }},
      {"capset", [] { return take_capabilities(); }},
      {"prctl dumpable", [] { return ::syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); }},
      {"prctl seccomp", [] { return ::syscall(SYS_prctl, PR_SET_SECCOMP, 0, 0, 0, 0); }},
      {"seccomp", [] { return new_filter(); }},
      {"setrlimit", [] { return ::syscall(SYS_setrlimit, RLIMIT_NOFILE, nullptr); }},
      {"prlimit other", [] { return ::syscall(SYS_prlimit64, kSomebody, RLIMIT_NOFILE, nullptr, nullptr); }},
      {"setpriority", [] { return ::syscall(SYS_setpriority, PRIO_PROCESS, 0, -20); }},
      {"sched_setscheduler", [] { return ::syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, nullptr); }},
      {"ioctl tty", [] { return ::syscall(SYS_ioctl, 1, 0x5412 /* TIOCSTI */, nullptr); }},
      {"ftruncate log", [] { return ::syscall(SYS_ftruncate, 1, 0); }},
      {"fcntl owner", [] { return ::syscall(SYS_fcntl, 1, F_SETOWN, 0); }},
      {"shmget", [] { return ::syscall(SYS_shmget, 0, 4096, 0600); }},
      {"mq_open", [] { return ::syscall(SYS_mq_open, "x", O_RDWR, 0, nullptr); }},
      {"init_module", [] { return ::syscall(SYS_init_module, nullptr, 0, ""); }},
      {"reboot", [] { return ::syscall(SYS_reboot, 0, 0, 0, nullptr); }},
      {"syslog", [] { return ::syscall(SYS_syslog, 3, nullptr, 0); }},
  };
  return kTries;
}

}  // namespace

std::vector<std::string> system_call_tries() {
  std::vector<std::string> names;
  for (const auto& [name, call] : tries()) names.push_back(name);
  return names;
}

std::string try_system_call(const std::string& name) {
  const auto found = tries().find(name);
  if (found == tries().end()) return "unknown";
  errno = 0;
  return outcome(found->second() >= 0);
}

}  // namespace underpass::test
