// SPDX-License-Identifier: Apache-2.0
// How connections end, in order and out of order.
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"

namespace underpass::test {
namespace {

constexpr std::size_t kSome = 60000;  // fits the buffers of a sender whose peer does not read

void abort_at_close(int fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

std::string error_of(int fd) {
  errno = get_option(fd, SOL_SOCKET, SO_ERROR);
  return errno == 0 ? "none" : outcome(-1);
}

BEHAVIOUR("closing: close after data") {
  Link link = scene.connect_warm();
  const std::string bytes = payload(0, kSome);
  say(link.sender(), bytes);
  scene.close(link.sending_end());
  scene.saw(read_payload_to_end(link.reader()));
  scene.saw("error", error_of(link.reader()));
}

BEHAVIOUR("closing: close after data that the peer answers too late") {
  Link link = scene.connect_warm();
  say(link.sender(), "bye");
  scene.close(link.sending_end());
  (void)eventually(kPatience, [&] { return (poll_for(link.reader(), POLLRDHUP, milliseconds(0)) & POLLRDHUP) != 0; });
  scene.saw("poll", await_events(link.reader(), POLLIN));
  scene.saw("recv", receive_next(link.reader(), 10));
  scene.saw("recv", receive_next(link.reader(), 10));
  scene.saw("first send", outcome(::send(link.reader(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL)));
  scene.saw("poll", await_events(link.reader(), POLLERR));
  scene.saw("second send", outcome(::send(link.reader(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL)));
  scene.saw("recv", receive(link.reader(), 10, MSG_DONTWAIT));
}

BEHAVIOUR("closing: half-close, then bytes the other way") {
  Link link = scene.connect_warm();
  say(link.sender(), "last words");
  ::shutdown(link.sender(), SHUT_WR);
  await_bytes(link.reader(), 10);
  (void)eventually(kPatience, [&] { return (poll_for(link.reader(), POLLRDHUP, milliseconds(0)) & POLLRDHUP) != 0; });
  scene.saw("poll", await_events(link.reader(), POLLIN));
  scene.saw("recv", receive(link.reader(), 20, MSG_DONTWAIT));
  scene.saw("recv", receive(link.reader(), 20, MSG_DONTWAIT));
  scene.saw("recv", receive(link.reader(), 20, MSG_DONTWAIT));
  scene.saw("the other way", transfer(link.reader(), link.sender(), 1u << 20, 10000));
  scene.close(link.reading_end());
  scene.saw("the end there", read_payload_to_end(link.sender()));
}

BEHAVIOUR("closing: half-close both ways") {
  Link link = scene.connect_warm();
  ::shutdown(link.sender(), SHUT_WR);
  scene.saw("recv", receive_next(link.reader(), 10));
  say(link.reader(), "answer");
  ::shutdown(link.reader(), SHUT_WR);
  await_bytes(link.sender(), 6);
  (void)eventually(kPatience, [&] { return (poll_for(link.sender(), POLLRDHUP, milliseconds(0)) & POLLHUP) != 0; });
  scene.saw("poll", await_events(link.sender(), POLLIN));
  scene.saw("recv", receive(link.sender(), 10, MSG_DONTWAIT));
  scene.saw("recv", receive(link.sender(), 10, MSG_DONTWAIT));
  scene.saw("poll there", await_events(link.reader(), POLLHUP));
  scene.saw("errors", error_of(link.sender()), error_of(link.reader()));
}

BEHAVIOUR("closing: a write after shutdown(SHUT_WR), SIGPIPE and EPIPE") {
  Link link = scene.connect_warm();
  say(link.sender(), "in time");
  ::shutdown(link.sender(), SHUT_WR);
  sigset_t pipe;
  sigset_t before;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const std::string sent = outcome(::send(link.sender(), "late", 4, MSG_DONTWAIT));
  const timespec none{};
  scene.saw("send", sent, "SIGPIPE", yes(::sigtimedwait(&pipe, nullptr, &none) == SIGPIPE));
  scene.saw("MSG_NOSIGNAL", outcome(::send(link.sender(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL)), "SIGPIPE",
            yes(::sigtimedwait(&pipe, nullptr, &none) == SIGPIPE));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  scene.saw("recv", receive_next(link.reader(), 10));
  scene.saw("recv", receive_next(link.reader(), 10));
}

BEHAVIOUR("closing: shutdown(SHUT_RD), then bytes come") {
  Link link = scene.connect_warm();
  ::shutdown(link.reader(), SHUT_RD);
  scene.saw("recv", receive(link.reader(), 10, MSG_DONTWAIT));
  say(link.sender(), "hello");
  (void)eventually(kPatience, [&] { return receive(link.reader(), 10, MSG_PEEK | MSG_DONTWAIT).starts_with("5"); });
  scene.saw("poll", await_events(link.reader(), POLLIN));
  scene.saw("recv", receive(link.reader(), 10, MSG_DONTWAIT));
  scene.saw("recv", receive(link.reader(), 10, MSG_DONTWAIT));
  say(link.reader(), "still sending");
  scene.saw("the other way", receive_next(link.sender(), 20));
}

BEHAVIOUR("closing: shutdown(SHUT_RDWR) with bytes on their way") {
  Link link = scene.connect_warm();
  say(link.sender(), payload(0, 1000));
  ::shutdown(link.sender(), SHUT_RDWR);
  scene.saw(read_payload_to_end(link.reader()));
  scene.saw("poll", poll_names(poll_for(link.sender(), POLLIN | POLLRDHUP, milliseconds(0))));
}

// The peer must learn that its bytes were not read.
void close_unread(Scene& scene, Link& link) {
  say(link.sender(), "never read");
  await_bytes(link.reader(), 10);
  scene.close(link.reading_end());
  scene.saw("poll", await_events(link.sender(), POLLIN));
  scene.saw("recv", receive_next(link.sender(), 10));
  scene.saw("recv", receive(link.sender(), 10, MSG_DONTWAIT));
  (void)eventually(kPatience, [&] { return ::send(link.sender(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL) < 0; });
  scene.saw("send", outcome(::send(link.sender(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

BEHAVIOUR("closing: close with unread bytes in mid-stream") {
  Link link = scene.connect_warm();
  close_unread(scene, link);
}

BEHAVIOUR("closing: close with unread bytes, the first ones") {
  Link link = scene.connect();
  close_unread(scene, link);
}

BEHAVIOUR("closing: close with some bytes read and some not") {
  Link link = scene.connect_warm();
  say(link.sender(), "half read");
  await_bytes(link.reader(), 9);
  scene.saw("read", receive(link.reader(), 4, MSG_DONTWAIT));
  scene.close(link.reading_end());
  scene.saw("recv", receive_next(link.sender(), 10));
}

BEHAVIOUR("closing: SO_LINGER of 0 seconds") {
  Link link = scene.connect_warm();
  say(link.sender(), payload(0, 1000));
  await_bytes(link.reader(), 1000);
  abort_at_close(link.sender());
  scene.close(link.sending_end());
  (void)eventually(kPatience, [&] { return (poll_for(link.reader(), POLLIN, milliseconds(0)) & POLLHUP) != 0; });
  scene.saw("poll", await_events(link.reader(), POLLIN));
  scene.saw(read_payload_to_end(link.reader()));
  scene.saw("send", outcome(::send(link.reader(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

BEHAVIOUR("closing: SO_LINGER of some seconds") {
  Link link = scene.connect_warm();
  const linger wait{.l_onoff = 1, .l_linger = 3};
  ::setsockopt(link.sender(), SOL_SOCKET, SO_LINGER, &wait, sizeof wait);
  say(link.sender(), payload(0, 1000));
  const auto start = Clock::now();
  scene.close(link.sending_end());
  scene.saw("close does not wait for the reader", yes(Clock::now() - start < seconds(2)));
  scene.saw(read_payload_to_end(link.reader()));
}

BEHAVIOUR("closing: abort by connect(AF_UNSPEC)") {
  Link link = scene.connect_warm();
  sockaddr unspecified{};
  say(link.sender(), "hello");
  scene.saw("recv", receive_next(link.reader(), 10));
  scene.look();
  scene.saw("connect", outcome(::connect(link.sender(), &unspecified, sizeof unspecified)));
  scene.saw("poll", await_events(link.reader(), POLLIN));
  scene.saw("recv", receive_next(link.reader(), 10));
  scene.saw("recv", receive(link.reader(), 10, MSG_DONTWAIT));
}

BEHAVIOUR("closing: recv on a socket that aborted its connection") {
  Link link = scene.connect_warm();
  sockaddr unspecified{};
  say(link.sender(), "hello");
  scene.saw("recv", receive_next(link.reader(), 10));
  scene.look();
  ::connect(link.sender(), &unspecified, sizeof unspecified);
  scene.saw("recv", receive(link.sender(), 10, MSG_DONTWAIT));
  scene.saw("recv", receive(link.sender(), 10, MSG_DONTWAIT));
  scene.saw("send", outcome(::send(link.sender(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

// A process that is killed closes its sockets as if it had called close().
void kill_reader(Scene& scene, bool unread) {
  Link link = scene.connect_warm();
  say(link.sender(), "read");
  scene.saw("read", receive_next(link.reader(), 10));
  const int sender = link.sender();
  Child holder([sender] {
    ::close(sender);
    for (;;) ::pause();
    return 0;
  });
  link.reading_end().reset();
  if (unread) {
    say(link.sender(), "never read");
    // Over TCP they are there when they are acknowledged.
    (void)eventually(kPatience, [&] {
      int unsent = 0;
      return ::ioctl(link.sender(), SIOCOUTQ, &unsent) == 0 && unsent == 0;
    });
  }
  scene.look();
  holder.kill9();
  scene.saw("poll", await_events(link.sender(), POLLIN));
  scene.saw("recv", receive_next(link.sender(), 10));
  (void)eventually(kPatience, [&] { return ::send(link.sender(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL) < 0; });
  scene.saw("send", outcome(::send(link.sender(), "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

BEHAVIOUR("closing: the peer's process is killed") { kill_reader(scene, false); }

BEHAVIOUR("closing: the peer's process is killed with unread bytes") { kill_reader(scene, true); }

BEHAVIOUR("closing: the sender's process is killed after its bytes") {
  Link link = scene.connect_warm();
  const int sender = link.sender();
  const int reader = link.reader();
  int ready[2];
  if (::pipe(ready) != 0) throw Skip("no pipe");
  Child holder([&] {
    ::close(reader);
    say(sender, payload(0, kSome));
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
    return 0;
  });
  link.sending_end().reset();
  (void)poll_for(ready[0], POLLIN, kPatience);
  scene.look();
  holder.kill9();
  ::close(ready[0]);
  ::close(ready[1]);
  scene.saw(read_payload_to_end(link.reader()));
}

}  // namespace
}  // namespace underpass::test
