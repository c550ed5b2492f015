// SPDX-License-Identifier: Apache-2.0
// select, poll and epoll, level and edge: what they say, and when.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"
#include "test/support/files.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

class Epoll {
 public:
  Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {}
  void watch(int fd, std::uint32_t events, int operation = EPOLL_CTL_ADD) const {
    epoll_event event{.events = events, .data = {.fd = fd}};
    if (::epoll_ctl(fd_.get(), operation, fd, &event) != 0) throw_errno("epoll_ctl");
  }
  // The events of the one descriptor; 0: none.
  [[nodiscard]] std::uint32_t wait(milliseconds timeout) const {
    epoll_event event{};
    return ::epoll_wait(fd_.get(), &event, 1, static_cast<int>(timeout.count())) == 1 ? event.events : 0;
  }
  // EPOLLIN and the like have the numbers of POLLIN and the like.
  [[nodiscard]] std::string soon() const { return poll_names(static_cast<short>(wait(kPatience))); }
  [[nodiscard]] std::string now() const { return poll_names(static_cast<short>(wait(kMoment))); }

 private:
  UniqueFd fd_;
};

BEHAVIOUR("waiting: poll") {
  Link link = scene.connect_warm();
  scene.saw("at rest", poll_names(poll_for(link.reader(), POLLIN | POLLOUT | POLLRDHUP, milliseconds(0))));
  say(link.sender(), "hello");
  scene.saw("bytes", await_events(link.reader(), POLLIN));
  scene.saw("read", receive(link.reader(), 2, MSG_DONTWAIT));
  scene.saw("some left", await_events(link.reader(), POLLIN));
  scene.saw("read", receive(link.reader(), 9, MSG_DONTWAIT));
  scene.saw("none left", poll_names(poll_for(link.reader(), POLLIN, kMoment)));
  ::shutdown(link.sender(), SHUT_WR);
  scene.saw("half-closed", await_events(link.reader(), POLLIN));
}

BEHAVIOUR("waiting: poll that sleeps until bytes come") {
  Link link = scene.connect_warm();
  for (int i = 0; i < 10; ++i) {
    std::string got;
    Task reader([&] { got = poll_names(poll_for(link.reader(), POLLIN, kPatience)); });
    (void)eventually(kMoment, [&] { return reader.sleeps_in(SYS_poll); });
    say(link.sender(), "hello");
    reader.join();
    scene.saw(got, receive(link.reader(), 9, MSG_DONTWAIT));
  }
}

BEHAVIOUR("waiting: poll until there is room") {
  Link link = scene.connect_warm();
  const std::uint64_t sent = fill(link.sender(), 65536);
  scene.saw("full", poll_names(poll_for(link.sender(), POLLOUT, milliseconds(0))));
  scene.saw("a send", outcome(::send(link.sender(), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL)));
  scene.saw("within reason", yes(sent < (64u << 20)));
  const std::string got = read_payload(link.reader(), sent);
  scene.saw("all is read", yes(got == std::to_string(sent) + " bytes, all right"));
  scene.saw("room again", await_events(link.sender(), POLLOUT));
}

BEHAVIOUR("waiting: select") {
  Link link = scene.connect_warm();
  const auto select_now = [&](milliseconds timeout) {
    fd_set read_set;
    fd_set write_set;
    FD_ZERO(&read_set);
    FD_ZERO(&write_set);
    FD_SET(link.reader(), &read_set);
    timeval time{.tv_sec = timeout.count() / 1000, .tv_usec = timeout.count() % 1000 * 1000};
    const int n = ::select(link.reader() + 1, &read_set, nullptr, nullptr, &time);
    FD_SET(link.reader(), &write_set);
    timeval none{};
    const int m = ::select(link.reader() + 1, nullptr, &write_set, nullptr, &none);
    return std::to_string(n) + " readable, " + std::to_string(m) + " writable";
  };
  scene.saw("at rest", select_now(kMoment));
  say(link.sender(), "hello");
  scene.saw("bytes", select_now(kPatience));
  scene.saw("read", receive(link.reader(), 9, MSG_DONTWAIT));
  scene.saw("none left", select_now(kMoment));
  ::shutdown(link.sender(), SHUT_WR);
  scene.saw("half-closed", select_now(kPatience));
}

BEHAVIOUR("waiting: epoll, level") {
  Link link = scene.connect_warm();
  const Epoll epoll;
  epoll.watch(link.reader(), EPOLLIN | EPOLLRDHUP);
  scene.saw("at rest", epoll.now());
  say(link.sender(), "hello");
  scene.saw("bytes", epoll.soon(), "and again", epoll.soon());
  scene.saw("read", receive(link.reader(), 2, MSG_DONTWAIT));
  scene.saw("some left", epoll.soon());
  scene.saw("read", receive(link.reader(), 9, MSG_DONTWAIT));
  scene.saw("none left", epoll.now());
  ::shutdown(link.sender(), SHUT_WR);
  scene.saw("half-closed", epoll.soon(), "and again", epoll.soon());
}

BEHAVIOUR("waiting: epoll, edge") {
  Link link = scene.connect_warm();
  const Epoll epoll;
  epoll.watch(link.reader(), EPOLLIN | EPOLLRDHUP | EPOLLET);
  for (int i = 0; i < 5; ++i) {
    say(link.sender(), "hello");
    scene.saw("bytes", epoll.soon(), "and again", epoll.now());
    scene.saw("read", receive(link.reader(), 2, MSG_DONTWAIT));
    scene.saw("some left", epoll.now());
    say(link.sender(), "more");
    scene.saw("more", epoll.soon());
    scene.saw("read", receive(link.reader(), 99, MSG_DONTWAIT));
    scene.saw("none left", epoll.now());
  }
  ::shutdown(link.sender(), SHUT_WR);
  scene.saw("half-closed", epoll.soon(), "and again", epoll.now());
}

BEHAVIOUR("waiting: epoll, edge, a reader that empties the socket each time") {
  Link link = scene.connect_warm();
  const Epoll epoll;
  epoll.watch(link.reader(), EPOLLIN | EPOLLET);
  static constexpr std::uint64_t kTotal = 4u << 20;
  Task sender(
      [&] {
        for (std::uint64_t sent = 0; sent < kTotal; sent += 4096) send_all(link.sender(), payload(sent, 4096));
      },
      link.sender());
  std::uint64_t got = 0;
  bool right = true;
  std::string buffer(10000, '\0');
  while (got < kTotal && epoll.wait(kPatience) != 0) {
    ssize_t n = 0;
    while ((n = ::recv(link.reader(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
      right = right && buffer.substr(0, static_cast<std::size_t>(n)) == payload(got, static_cast<std::size_t>(n));
      got += static_cast<std::uint64_t>(n);
    }
  }
  scene.saw("got", got, "right", yes(right));
  if (got < kTotal) ::shutdown(link.reader(), SHUT_RDWR);
}

BEHAVIOUR("waiting: epoll, edge, until there is room") {
  Link link = scene.connect_warm();
  const Epoll epoll;
  epoll.watch(link.sender(), EPOLLOUT | EPOLLET);
  scene.saw("at rest", epoll.soon(), "and again", epoll.now());
  const std::uint64_t sent = fill(link.sender(), 65536);
  (void)epoll.wait(kMoment);  // room that was made while it was filled
  scene.saw("full", epoll.now());
  const std::string got = read_payload(link.reader(), sent);
  scene.saw("all is read", yes(got == std::to_string(sent) + " bytes, all right"));
  scene.saw("room again", epoll.soon());
}

BEHAVIOUR("waiting: EPOLLONESHOT") {
  Link link = scene.connect_warm();
  const Epoll epoll;
  epoll.watch(link.reader(), EPOLLIN | EPOLLONESHOT);
  say(link.sender(), "hello");
  scene.saw("bytes", epoll.soon(), "and again", epoll.now());
  epoll.watch(link.reader(), EPOLLIN | EPOLLONESHOT, EPOLL_CTL_MOD);
  scene.saw("armed again", epoll.soon());
  scene.saw("read", receive(link.reader(), 9, MSG_DONTWAIT));
}

// The kernel promises that at least one of the sleepers is woken.
BEHAVIOUR("waiting: EPOLLEXCLUSIVE") {
  Link link = scene.connect_warm();
  const std::array<Epoll, 2> epolls;
  for (const Epoll& epoll : epolls) epoll.watch(link.reader(), EPOLLIN | EPOLLEXCLUSIVE);
  for (int i = 0; i < 3; ++i) {
    std::array<bool, 2> woken{};
    {
      Task first([&] { woken[0] = epolls[0].wait(milliseconds(100)) != 0; });
      Task second([&] { woken[1] = epolls[1].wait(milliseconds(100)) != 0; });
      (void)eventually(kMoment, [&] { return first.sleeps_in(SYS_epoll_wait) && second.sleeps_in(SYS_epoll_wait); });
      say(link.sender(), "hello");
    }
    scene.saw("at least one was woken", yes(woken[0] || woken[1]), receive(link.reader(), 9, MSG_DONTWAIT));
  }
}

BEHAVIOUR("waiting: a socket watched by two epolls and a poll") {
  Link link = scene.connect_warm();
  const std::array<Epoll, 2> epolls;
  epolls[0].watch(link.reader(), EPOLLIN | EPOLLET);
  epolls[1].watch(link.reader(), EPOLLIN);
  for (int i = 0; i < 3; ++i) {
    say(link.sender(), "hello");
    scene.saw(epolls[0].soon(), epolls[1].soon(), await_events(link.reader(), POLLIN));
    scene.saw("read", receive(link.reader(), 9, MSG_DONTWAIT));
    scene.saw(epolls[0].now(), epolls[1].now());
  }
}

BEHAVIOUR("waiting: O_ASYNC, a signal when bytes come") {
  Link link = scene.connect_warm();
  sigset_t signals;
  sigset_t before;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGIO);
  ::pthread_sigmask(SIG_BLOCK, &signals, &before);
  const f_owner_ex owner{.type = F_OWNER_TID, .pid = ::gettid()};
  ::fcntl(link.reader(), F_SETOWN_EX, &owner);
  ::fcntl(link.reader(), F_SETFL, ::fcntl(link.reader(), F_GETFL) | O_ASYNC);
  const auto signalled = [&](milliseconds timeout) {
    const timespec time{.tv_sec = timeout.count() / 1000, .tv_nsec = timeout.count() % 1000 * 1000000};
    return yes(::sigtimedwait(&signals, nullptr, &time) == SIGIO);
  };
  while (std::string_view(signalled(milliseconds(0))) == "yes") {
  }
  say(link.sender(), "hello");
  scene.saw("SIGIO", signalled(kPatience), receive_next(link.reader(), 9));
  ::fcntl(link.reader(), F_SETFL, ::fcntl(link.reader(), F_GETFL) & ~O_ASYNC);
  while (std::string_view(signalled(milliseconds(0))) == "yes") {
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace underpass::test
