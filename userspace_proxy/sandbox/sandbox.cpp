// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/sandbox/sandbox.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "userspace_proxy/sandbox/syscall_filter.h"

namespace underpass::sandbox {
namespace {

Result<void> set_limits() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return fail_errno("getrlimit");
  files.rlim_cur = files.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) return fail_errno("raise the limit of open files");
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return fail_errno("switch core dumps off");
  return {};
}

// The root becomes an empty tmpfs. It is mounted where a folder is sure to be.
Result<void> empty_root() {
  constexpr const char* kFolder = "/proc";
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno("make mounts private");
  if (::mount("none", kFolder, "tmpfs", kFlags, "size=4k,nr_inodes=1,mode=0555") != 0) return fail_errno("mount tmpfs");
  if (::chdir(kFolder) != 0) return fail_errno("enter the tmpfs");
  // Onto itself: the old root ends up on top of the new one, from where it is taken away (pivot_root(2)).
  if (::syscall(SYS_pivot_root, ".", ".") == 0) {
    if (::umount2(".", MNT_DETACH) != 0) return fail_errno("unmount the old root");
  } else {
    // EINVAL: the root is the initial ramfs, which cannot be taken away. Nothing is left open that leads to it.
    if (errno != EINVAL) return fail_errno("pivot_root");
    if (::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0) return fail_errno("move the new root");
    if (::chroot(".") != 0) return fail_errno("chroot");
  }
  if (::chdir("/") != 0) return fail_errno("enter the new root");
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY | kFlags, nullptr) != 0)
    return fail_errno("make the new root read-only");
  return {};
}

Result<void> drop_bounding_set() {
  for (int capability = 0;; ++capability) {
    if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) < 0) return {};  // past the last one
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return fail_errno("drop a capability");
  }
}

Result<void> become_nobody(const SandboxOptions& options) {
  if (auto done = drop_bounding_set(); !done) return done;
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return fail_errno("clear ambient capabilities");
  if (::setgroups(0, nullptr) != 0) return fail_errno("setgroups");
  if (::setresgid(options.gid, options.gid, options.gid) != 0) return fail_errno("setresgid");
  if (::setresuid(options.uid, options.uid, options.uid) != 0) return fail_errno("setresuid");
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return fail_errno("capset");
  return {};
}

}  // namespace

Result<void> enter_sandbox(const SandboxOptions& options) {
  if (auto done = set_limits(); !done) return fail_in("sandbox", done.error());
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) != 0)
    return fail_errno("sandbox: unshare");
  if (auto done = empty_root(); !done) return fail_in("sandbox", done.error());
  if (auto done = become_nobody(options); !done) return fail_in("sandbox", done.error());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("sandbox: no new privileges");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno("sandbox: not dumpable");
  if (auto done = load_syscall_filter(); !done) return fail_in("sandbox", done.error());
  return {};
}

}  // namespace underpass::sandbox
