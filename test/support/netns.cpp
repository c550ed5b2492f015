// SPDX-License-Identifier: Apache-2.0
#include "test/support/netns.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace {

void on_own_thread(const std::function<void()>& f) {
  std::exception_ptr thrown;
  std::thread([&] {
    try {
      f();
    } catch (...) {
      thrown = std::current_exception();
    }
  }).join();
  if (thrown) std::rethrow_exception(thrown);
}

void loopback_up() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) throw_errno("lo up");
}

}  // namespace

Netns::Netns(std::string name) : name_(std::move(name)) {
  fs::create_directories(kNetnsFolder);
  const UniqueFd file(::open(path().c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file) throw_errno("create " + path());
  on_own_thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) throw_errno("unshare network namespace");
    loopback_up();
    if (::mount("/proc/thread-self/ns/net", path().c_str(), nullptr, MS_BIND, nullptr) != 0) {
      throw_errno("mount " + path());
    }
  });
}

Netns::Netns(Netns&& other) noexcept : name_(std::exchange(other.name_, "")) {}

Netns::~Netns() { unname(); }

void Netns::unname() {
  if (name_.empty()) return;
  ::umount2(path().c_str(), MNT_DETACH);
  ::unlink(path().c_str());
  name_.clear();
}

NetnsCookie Netns::cookie() const {
  const UniqueFd fd = socket_in(path(), AF_INET, SOCK_DGRAM);
  NetnsCookie cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) throw_errno("SO_NETNS_COOKIE");
  return cookie;
}

void run_in_netns(const std::string& path, const std::function<void()>& f) {
  if (path.empty()) return f();
  const UniqueFd netns = open_file(path, O_RDONLY);
  on_own_thread([&] {
    if (::setns(netns.get(), CLONE_NEWNET) != 0) throw_errno("setns " + path);
    f();
  });
}

UniqueFd socket_in(const std::string& path, int family, int type, int protocol) {
  UniqueFd fd;
  run_in_netns(path, [&] {
    fd.reset(::socket(family, type | SOCK_CLOEXEC, protocol));
    if (!fd) throw_errno("socket in " + path);
  });
  return fd;
}

void set_sysctl(const std::string& path, std::string name, const std::string& value) {
  std::ranges::replace(name, '.', '/');
  run_in_netns(path, [&] { write_existing("/proc/sys/" + name, value); });
}

}  // namespace underpass::test
