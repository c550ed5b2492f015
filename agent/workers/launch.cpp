// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>

#include "underpass/unix_address.h"
#include "underpass/worker_protocol.h"

namespace underpass::workers {
namespace {

// Above every number that a descriptor is to have in the worker.
constexpr int kOutOfTheWay = 16;
constexpr int kExecProblemFd = worker::kFirstAgentFd + 1;

Result<UniqueFd> bound_socket(const std::string& path) {
  const auto address = to_unix_address(path);
  if (!address) return std::unexpected(address.error());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  ::unlink(path.c_str());
  ::fchmod(fd.get(), 0600);  // of a socket that is not bound yet: the mode of its file
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0)
    return fail_errno("bind " + path);
  return fd;
}

Result<UniqueFd> out_of_the_way(int fd) {
  UniqueFd out(::fcntl(fd, F_DUPFD_CLOEXEC, kOutOfTheWay));
  if (!out) return fail_errno("dup");
  return out;
}

// After fork: only what is safe there.
[[noreturn]] void become_worker(const std::vector<UniqueFd>& cgroups, const std::array<UniqueFd, 6>& fds, char** argv,
                                char** environment) {
  const auto give_up = [] {
    const int error = errno;
    (void)!::write(kExecProblemFd, &error, sizeof(error));
    ::_exit(127);
  };
  for (int number = 0; number < static_cast<int>(fds.size()); ++number)
    if (::dup2(fds[static_cast<std::size_t>(number)].get(), number) != number) ::_exit(127);
  ::fcntl(kExecProblemFd, F_SETFD, FD_CLOEXEC);
  for (const auto& cgroup : cgroups)
    if (::write(cgroup.get(), "0", 1) != 1) give_up();
  ::setsid();  // what is typed at the agent's terminal is not for it
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::syscall(SYS_close_range, kExecProblemFd + 1, ~0u, 0);
  ::execve(argv[0], argv, environment);
  give_up();
  ::_exit(127);
}

}  // namespace

Result<Launched> launch(const LaunchOptions& options) {
  auto listener = bound_socket(options.socket_path);
  if (!listener) return std::unexpected(listener.error());
  int pair[2] = {}, problem[2] = {};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
    return fail_errno("socketpair");
  Launched out{.control = UniqueFd(pair[0])};
  const UniqueFd control(pair[1]);
  if (::pipe2(problem, O_CLOEXEC) != 0) return fail_errno("pipe");
  const UniqueFd problem_in(problem[0]);
  UniqueFd problem_out(problem[1]);
  const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!nothing) return fail_errno("open /dev/null");

  std::array<UniqueFd, 6> fds;
  std::size_t number = 0;
  for (const int fd :
       {nothing.get(), STDOUT_FILENO, STDERR_FILENO, listener->get(), control.get(), problem_out.get()}) {
    auto moved = out_of_the_way(fd);
    if (!moved) return std::unexpected(moved.error());
    fds[number++] = std::move(*moved);
  }
  std::vector<UniqueFd> cgroups;
  for (const auto& path : options.cgroup_procs) {
    auto& file = cgroups.emplace_back(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) return fail_errno("open " + path);
  }

  std::string binary = options.binary, flag = "--log-level", level = options.log_level, path = "PATH=/usr/bin:/bin";
  // Requests that are under way together have more blocks of a size than the seven that a thread keeps by default.
  std::string tunables = "GLIBC_TUNABLES=glibc.malloc.tcache_count=512";
  std::array<char*, 4> argv{binary.data(), flag.data(), level.data(), nullptr};
  std::array<char*, 3> environment{path.data(), tunables.data(), nullptr};
  int pidfd = -1;
  out.pid =
      static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWPID | CLONE_PIDFD | SIGCHLD, nullptr, &pidfd, nullptr, nullptr));
  if (out.pid < 0) return fail_errno("clone");
  if (out.pid == 0) become_worker(cgroups, fds, argv.data(), environment.data());
  out.pidfd.reset(pidfd);

  problem_out.reset();
  fds = {};
  int error = 0;
  ssize_t got = 0;
  do got = ::read(problem_in.get(), &error, sizeof(error));
  while (got < 0 && errno == EINTR);  // the agent may be told to stop just now
  if (got == 0) return out;
  ::waitpid(out.pid, nullptr, 0);
  return fail_errno("start " + options.binary, got == sizeof(error) ? error : EIO);
}

Result<Launched> find_running(const std::string& socket_path) {
  const auto address = to_unix_address(socket_path);
  if (!address) return std::unexpected(address.error());
  Launched out{.control = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))};
  if (!out.control) return fail_errno("socket");
  if (::connect(out.control.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0)
    return fail_errno("connect to " + socket_path);
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(out.control.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return fail_errno("SO_PEERCRED");
  out.pid = peer.pid;
  out.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
  if (!out.pidfd) return fail_errno("pidfd_open " + std::to_string(peer.pid));
  return out;
}

}  // namespace underpass::workers
