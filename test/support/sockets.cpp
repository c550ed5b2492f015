// SPDX-License-Identifier: Apache-2.0
#include "test/support/sockets.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::test {
namespace {

// A process of its own makes it, since a socket's cgroup is that of its maker. It shares its descriptors with this one,
// and only makes system calls: this one may have threads.
UniqueFd socket_in_cgroup(const Place& place, int family) {
  const UniqueFd procs = open_file(fs::path(place.cgroup) / "cgroup.procs", O_WRONLY);
  const UniqueFd netns = place.netns.empty() ? UniqueFd() : open_file(place.netns, O_RDONLY);
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) throw_errno("pipe2");
  const UniqueFd read_end(report[0]), write_end(report[1]);
  const auto child =
      static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (child < 0) throw_errno("clone");
  if (child == 0) {
    int made = -1;
    if (::write(procs.get(), "0", 1) == 1 && (!netns || ::setns(netns.get(), CLONE_NEWNET) == 0))
      made = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const std::array<int, 2> result{made, errno};
    ::_exit(::write(write_end.get(), result.data(), sizeof result) == sizeof result ? 0 : 1);
  }
  std::array<int, 2> result{-1, 0};
  ::waitpid(child, nullptr, 0);
  if (::read(read_end.get(), result.data(), sizeof result) != sizeof result || result[0] < 0)
    throw_errno("socket in " + place.cgroup, result[1]);
  return UniqueFd(result[0]);
}

UniqueFd socket_of(const Place& place, int family) {
  return place.cgroup.empty() ? socket_in(place.netns, family, SOCK_STREAM) : socket_in_cgroup(place, family);
}

}  // namespace

void set_option(int fd, int level, int option, int value) {
  if (::setsockopt(fd, level, option, &value, sizeof value) != 0) {
    throw_errno("setsockopt level " + std::to_string(level) + " option " + std::to_string(option));
  }
}

int get_option(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, level, option, &value, &size) != 0) throw_errno("getsockopt " + std::to_string(option));
  return value;
}

void set_nonblocking(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) != 0) throw_errno("O_NONBLOCK");
}

std::uint64_t socket_cookie(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) throw_errno("SO_COOKIE");
  return cookie;
}

Address local_address(int fd) {
  Address address;
  address.size = sizeof address.storage;
  if (::getsockname(fd, address.get(), &address.size) != 0) throw_errno("getsockname");
  return address;
}

UniqueFd listen_at(const Place& place, int family, const Prepare& prepare, std::uint16_t port) {
  UniqueFd fd = socket_of(place, family);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (prepare) prepare(fd.get());
  const Address address = Address::of(place.ip(family), port);
  if (::bind(fd.get(), address.get(), address.size) != 0) throw_errno("bind " + address.to_string());
  if (::listen(fd.get(), 512) != 0) throw_errno("listen");
  return fd;
}

UniqueFd accept_from(int listener, milliseconds deadline) {
  if (!readable(listener, deadline)) throw std::runtime_error("accept: no connection came");
  UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) throw_errno("accept");
  return fd;
}

UniqueFd connect_from(const Place& place, const Address& to, const Prepare& prepare) {
  UniqueFd fd = socket_of(place, to.family());
  if (prepare) prepare(fd.get());
  if (::connect(fd.get(), to.get(), to.size) != 0) throw_errno("connect to " + to.to_string());
  return fd;
}

Pair make_pair_between(const Place& client, const Place& server, int family, const Prepare& prepare_client,
                       const Prepare& prepare_server) {
  const UniqueFd listener = listen_at(server, family, prepare_server);
  Pair pair;
  pair.client = connect_from(client, local_address(listener.get()), prepare_client);
  pair.server = accept_from(listener.get());
  return pair;
}

void send_all(int fd, const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n < 0) throw_errno("send");
    done += static_cast<std::size_t>(n);
  }
}

std::string receive_exactly(int fd, std::size_t count, milliseconds deadline) {
  std::string bytes(count, '\0');
  std::size_t done = 0;
  const auto end = Clock::now() + deadline;
  while (done < count) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    if (left.count() <= 0 || !readable(fd, left)) {
      throw std::runtime_error("receive: " + std::to_string(done) + " of " + std::to_string(count) +
                               " bytes came before the deadline");
    }
    const ssize_t n = ::recv(fd, bytes.data() + done, count - done, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) continue;
    if (n < 0) throw_errno("recv");
    if (n == 0) throw std::runtime_error("receive: end of stream after " + std::to_string(done) + " bytes");
    done += static_cast<std::size_t>(n);
  }
  return bytes;
}

bool readable(int fd, milliseconds deadline) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, static_cast<int>(deadline.count())) == 1;
}

bool ends_with_error(int fd, milliseconds deadline) {
  if (!readable(fd, deadline)) return false;
  char byte = 0;
  return ::recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno != EAGAIN;
}

}  // namespace underpass::test
