// SPDX-License-Identifier: Apache-2.0
#include "test/semantics/observe.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "test/support/files.h"
#include "test/support/payload.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

constexpr std::uint64_t kKey = 7;

std::string errno_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : "errno " + std::to_string(error);
}

}  // namespace

std::string outcome(long result) { return result < 0 ? errno_name(errno) : std::to_string(result); }

const char* yes(bool value) { return value ? "yes" : "no"; }

std::string quote(std::string_view bytes) {
  const bool text = std::ranges::all_of(bytes, [](char c) { return std::isprint(static_cast<unsigned char>(c)) != 0; });
  if (text && bytes.size() <= 40) return "'" + std::string(bytes) + "'";
  std::uint32_t sum = 2166136261;  // FNV-1a
  for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * 16777619;
  return std::to_string(bytes.size()) + " bytes with sum " + std::to_string(sum);
}

std::string poll_names(short events) {
  static constexpr std::pair<short, const char*> kNames[] = {{POLLIN, "POLLIN"},   {POLLPRI, "POLLPRI"},
                                                             {POLLOUT, "POLLOUT"}, {POLLERR, "POLLERR"},
                                                             {POLLHUP, "POLLHUP"}, {POLLRDHUP, "POLLRDHUP"}};
  std::string names;
  for (const auto& [bit, name] : kNames) {
    if ((events & bit) != 0) names += (names.empty() ? "" : "|") + std::string(name);
  }
  return names.empty() ? "nothing" : names;
}

short poll_for(int fd, short events, milliseconds timeout) {
  pollfd one{fd, events, 0};
  if (::poll(&one, 1, static_cast<int>(timeout.count())) < 0) throw_errno("poll");
  return one.revents;
}

std::string await_events(int fd, short events, milliseconds timeout) {
  (void)poll_for(fd, events, timeout);
  return poll_names(poll_for(fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP, milliseconds(0)));
}

std::string receive(int fd, std::size_t size, int flags) {
  std::string buffer(size, '\0');
  const ssize_t n = ::recv(fd, buffer.data(), size, flags);
  if (n <= 0) return outcome(n);
  return std::to_string(n) + " " + quote(std::string_view(buffer).substr(0, static_cast<std::size_t>(n)));
}

std::string receive_next(int fd, std::size_t size, int flags) {
  if (poll_for(fd, POLLIN, kPatience) == 0) return "nothing";
  return receive(fd, size, flags | MSG_DONTWAIT);
}

void await_bytes(int fd, std::size_t size) {
  std::string buffer(size, '\0');
  ssize_t n = 0;
  const bool there = eventually(kPatience, [&] {
    n = ::recv(fd, buffer.data(), size, MSG_PEEK | MSG_DONTWAIT);
    return n == static_cast<ssize_t>(size);
  });
  if (!there) throw std::runtime_error("of " + std::to_string(size) + " bytes came " + outcome(n));
}

void say(int fd, std::string_view text) {
  const ssize_t n = ::send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n != static_cast<ssize_t>(text.size())) throw std::runtime_error("send: " + outcome(n));
}

std::string payload(std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  Payload(kKey).fill(offset, bytes);
  return bytes;
}

namespace {

// Reads and checks, piece by piece.
class Checker {
 public:
  explicit Checker(std::size_t chunk) : buffer_(chunk, '\0') {}

  // One recv() of what is there. False: there is nothing more to expect.
  bool read(int fd, std::uint64_t most) {
    const std::size_t size = std::min<std::uint64_t>(buffer_.size(), most);
    const ssize_t n = ::recv(fd, buffer_.data(), size, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) {
      end_ = n == 0 ? ", then the end" : ", then " + outcome(n);
      return false;
    }
    const std::span<const char> got(buffer_.data(), static_cast<std::size_t>(n));
    const auto wrong = Payload(kKey).first_difference(bytes, got);
    if (wrong && wrong_.empty()) wrong_ = ", byte " + std::to_string(bytes + *wrong) + " is wrong";
    bytes += static_cast<std::uint64_t>(n);
    return true;
  }
  void nothing() { end_ = ", then nothing"; }
  [[nodiscard]] std::string result() const {
    return std::to_string(bytes) + " bytes" + (wrong_.empty() ? ", all right" : wrong_) + end_;
  }

  std::uint64_t bytes = 0;

 private:
  std::string buffer_;
  std::string wrong_;
  std::string end_;
};

}  // namespace

std::string read_payload(int fd, std::uint64_t total, std::size_t chunk) {
  Checker checker(chunk);
  while (checker.bytes < total) {
    if (poll_for(fd, POLLIN, kPatience) == 0) {
      checker.nothing();
      break;
    }
    if (!checker.read(fd, total - checker.bytes)) break;
  }
  return checker.result();
}

std::string read_payload_to_end(int fd, std::size_t chunk) { return read_payload(fd, ~0ull, chunk); }

std::string transfer(int from, int to, std::uint64_t total, std::size_t message, std::size_t chunk) {
  Checker checker(chunk);
  std::string buffer(message, '\0');
  std::uint64_t sent = 0;
  while (checker.bytes < total) {
    pollfd both[] = {{to, POLLIN, 0}, {from, static_cast<short>(sent < total ? POLLOUT : 0), 0}};
    if (::poll(both, 2, static_cast<int>(kPatience.count())) <= 0) {
      checker.nothing();
      break;
    }
    if (both[1].revents != 0 && sent < total) {
      const std::size_t size = std::min<std::uint64_t>(message, total - sent);
      Payload(kKey).fill(sent, std::span(buffer).first(size));
      const ssize_t n = ::send(from, buffer.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return checker.result() + ", send: " + outcome(n);
      if (n > 0) sent += static_cast<std::uint64_t>(n);
    }
    if (both[0].revents != 0 && !checker.read(to, total - checker.bytes)) break;
  }
  return checker.result();
}

std::uint64_t fill(int fd, std::size_t message) {
  std::string buffer(message, '\0');
  std::uint64_t sent = 0;
  // TCP makes room once more when it probes a window that seems closed: full is what stays full for longer than that.
  while (poll_for(fd, POLLOUT, milliseconds(300)) != 0) {
    Payload(kKey).fill(sent, buffer);
    const ssize_t n = ::send(fd, buffer.data(), message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) throw_errno("send");
    if (n > 0) sent += static_cast<std::uint64_t>(n);
  }
  return sent;
}

Child::Child(const std::function<int()>& body) {
  pid_ = ::fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int code = 99;
  try {
    code = body();
  } catch (...) {
    code = 98;
  }
  ::_exit(code);
}

Child::~Child() {
  if (pid_ > 0) kill9();
}

int Child::wait() {
  int status = 0;
  if (!eventually(kPatience, [&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; })) {
    throw std::runtime_error("the child process does not end");
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Child::kill9() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace underpass::test
