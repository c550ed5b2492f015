// SPDX-License-Identifier: Apache-2.0
#include "test/bench/child.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <exception>
#include <stdexcept>

#include "test/support/files.h"

namespace underpass::bench {
namespace {

// First byte of a message: what the rest is.
constexpr char kNumbers = 'n';
constexpr char kError = 'e';

// The rest of the child's life.
[[noreturn]] void live(const Place& place, const std::function<void(Channel&)>& body, Channel& channel) {
  try {
    enter(place);
    body(channel);
  } catch (const std::exception& error) {
    channel.send_error(error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace

void Channel::send(const Numbers& numbers) {
  std::string message(1, kNumbers);
  message.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double));
  if (::send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) test::throw_errno("tell a process");
}

void Channel::send_error(const std::string& message) {
  const std::string text = kError + message;
  static_cast<void>(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL));
}

Numbers Channel::receive(std::chrono::milliseconds timeout) {
  pollfd wait{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&wait, 1, static_cast<int>(timeout.count())) != 1) throw std::runtime_error("a process does not answer");
  std::array<char, 65536> buffer;
  const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (size < 0) test::throw_errno("hear from a process");
  if (size == 0) throw std::runtime_error("a process ended early");
  const std::size_t rest = static_cast<std::size_t>(size) - 1;
  if (buffer[0] == kError) throw std::runtime_error(std::string(buffer.data() + 1, rest));
  Numbers numbers(rest / sizeof(double));
  std::memcpy(numbers.data(), buffer.data() + 1, numbers.size() * sizeof(double));
  return numbers;
}

Child::Child(const Place& place, const std::function<void(Channel&)>& body) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) test::throw_errno("socketpair");
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) test::throw_errno("fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ours.reset();
    Channel channel(std::move(theirs));
    live(place, body, channel);
  }
  channel_ = Channel(std::move(ours));
}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace underpass::bench
