// SPDX-License-Identifier: Apache-2.0
#include "test/support/supervisor.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>

#include "test/support/files.h"
#include "test/support/netns.h"
#include "test/support/traces.h"

namespace underpass::test {
namespace {

void private_mounts() {
  if (::unshare(CLONE_NEWNS) != 0) throw_errno("unshare mount namespace (root is needed)");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) throw_errno("make / private");
  fs::create_directories(kNetnsFolder);
  if (::mount("tmpfs", kNetnsFolder, "tmpfs", 0, "mode=755") != 0) throw_errno("mount tmpfs for network namespaces");
}

int child(pid_t parent, const std::function<int()>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) return 1;
  ::setpgid(0, 0);  // Ctrl-C goes to the parent, which cleans up
  try {
    private_mounts();
    return body();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}

}  // namespace

int run_supervised(const std::function<int()>& body) {
  sweep_leftovers();
  sigset_t watched;
  sigset_t before;
  ::sigemptyset(&watched);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) ::sigaddset(&watched, number);
  ::sigprocmask(SIG_BLOCK, &watched, &before);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw_errno("fork");
  if (pid == 0) {
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    const int code = child(parent, body);
    std::fflush(nullptr);
    ::_exit(code);
  }
  int stopped_by = 0;
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    const int number = ::sigwaitinfo(&watched, nullptr);
    if (number <= 0 || number == SIGCHLD) continue;
    stopped_by = number;
    ::kill(pid, SIGKILL);
  }
  remove_traces_of(pid);
  if (stopped_by != 0) return 128 + stopped_by;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace underpass::test
