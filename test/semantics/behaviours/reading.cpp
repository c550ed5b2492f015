// SPDX-License-Identifier: Apache-2.0
// recv() with its flags, and the readers that ask for more than "what is there": MSG_WAITALL, MSG_PEEK, SO_RCVLOWAT.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

// A reader that wants 10 bytes, which come in two halves.
void halves(Scene& scene, Link& link, int flags, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    std::string got;
    Task reader([&] { got = receive(link.reader(), 10, flags); }, link.reader());
    (void)reader.eventually_sleeps_in(SYS_recvfrom);
    say(link.sender(), "first");
    (void)eventually(kMoment, [&] { return reader.done(); });
    say(link.sender(), "later");
    reader.join();
    scene.saw("of 10", got);
    if ((flags & MSG_PEEK) != 0 || !got.starts_with("10")) {
      await_bytes(link.reader(), (flags & MSG_PEEK) != 0 ? 10 : 5);
      scene.saw("left", receive(link.reader(), 10, MSG_DONTWAIT));
    }
  }
}

BEHAVIOUR("reading: MSG_DONTWAIT") {
  Link link = scene.connect_warm();
  scene.saw("nothing there", receive(link.reader(), 10, MSG_DONTWAIT));
  say(link.sender(), "hello");
  await_bytes(link.reader(), 5);
  scene.saw("2 of 5", receive(link.reader(), 2, MSG_DONTWAIT));
  scene.saw("the rest", receive(link.reader(), 10, MSG_DONTWAIT));
  scene.saw("again nothing", receive(link.reader(), 10, MSG_DONTWAIT));
}

BEHAVIOUR("reading: O_NONBLOCK with read() and readv()") {
  Link link = scene.connect_warm();
  set_nonblocking(link.reader(), true);
  std::array<char, 10> buffer{};
  scene.saw("nothing there", outcome(::read(link.reader(), buffer.data(), buffer.size())));
  say(link.sender(), "hello, reader");
  await_bytes(link.reader(), 13);
  scene.saw("read", outcome(::read(link.reader(), buffer.data(), 5)), quote({buffer.data(), 5}));
  std::array<char, 4> one{};
  std::array<char, 6> two{};
  const iovec parts[] = {{one.data(), one.size()}, {two.data(), two.size()}};
  scene.saw("readv", outcome(::readv(link.reader(), parts, 2)), quote({one.data(), 4}), quote({two.data(), 4}));
  scene.saw("nothing left", outcome(::read(link.reader(), buffer.data(), buffer.size())));
}

BEHAVIOUR("reading: no bytes wanted, no bytes sent") {
  Link link = scene.connect_warm();
  scene.saw("send of 0", outcome(::send(link.sender(), "", 0, MSG_DONTWAIT | MSG_NOSIGNAL)));
  scene.saw("poll", poll_names(poll_for(link.reader(), POLLIN, kMoment)));
  scene.saw("recv of nothing", receive(link.reader(), 10, MSG_DONTWAIT));
  say(link.sender(), "hello");
  await_bytes(link.reader(), 5);
  scene.saw("recv of 0", receive(link.reader(), 0, MSG_DONTWAIT));
  scene.saw("recv", receive(link.reader(), 10, MSG_DONTWAIT));
}

BEHAVIOUR("reading: MSG_PEEK") {
  Link link = scene.connect_warm();
  scene.saw("nothing there", receive(link.reader(), 10, MSG_PEEK | MSG_DONTWAIT));
  say(link.sender(), "hello");
  say(link.sender(), "again");
  await_bytes(link.reader(), 10);
  for (const std::size_t size : {3u, 7u, 20u}) {
    scene.saw("peek of", size, receive(link.reader(), size, MSG_PEEK | MSG_DONTWAIT));
  }
  scene.saw("read", receive(link.reader(), 6, MSG_DONTWAIT));
  scene.saw("peek", receive(link.reader(), 20, MSG_PEEK | MSG_DONTWAIT));
  scene.saw("read", receive(link.reader(), 20, MSG_DONTWAIT));
  scene.saw("peek", receive(link.reader(), 20, MSG_PEEK | MSG_DONTWAIT));
  ::shutdown(link.sender(), SHUT_WR);
  scene.saw("peek at the end", receive_next(link.reader(), 20, MSG_PEEK));
}

BEHAVIOUR("reading: MSG_PEEK by a reader that sleeps") {
  Link link = scene.connect_warm();
  std::string got;
  Task reader([&] { got = receive(link.reader(), 10, MSG_PEEK); }, link.reader());
  (void)reader.eventually_sleeps_in(SYS_recvfrom);
  say(link.sender(), "hello");
  reader.join();
  scene.saw("peek", got);
  scene.saw("read", receive_next(link.reader(), 10));
}

BEHAVIOUR("reading: MSG_WAITALL from the first byte") {
  Link link = scene.connect();
  halves(scene, link, MSG_WAITALL, 6);
}

BEHAVIOUR("reading: MSG_WAITALL in mid-stream") {
  Link link = scene.connect_warm();
  halves(scene, link, MSG_WAITALL, 3);
}

BEHAVIOUR("reading: MSG_WAITALL on a non-blocking socket") {
  Link link = scene.connect_warm();
  set_nonblocking(link.reader(), true);
  say(link.sender(), "hello");
  await_bytes(link.reader(), 5);
  scene.saw("recv of 10", receive(link.reader(), 10, MSG_WAITALL));
  scene.saw("recv of 10", receive(link.reader(), 10, MSG_WAITALL));
}

BEHAVIOUR("reading: MSG_PEEK with MSG_WAITALL") {
  Link link = scene.connect_warm();
  halves(scene, link, MSG_PEEK | MSG_WAITALL, 2);
}

BEHAVIOUR("reading: MSG_WAITALL until the end of the stream") {
  Link link = scene.connect_warm();
  std::string got;
  Task reader([&] { got = receive(link.reader(), 10, MSG_WAITALL); }, link.reader());
  (void)reader.eventually_sleeps_in(SYS_recvfrom);
  say(link.sender(), "short");
  ::shutdown(link.sender(), SHUT_WR);
  reader.join();
  scene.saw("of 10", got);
}

// TCP's own meaning: the bytes are taken and go nowhere.
BEHAVIOUR("reading: MSG_TRUNC") {
  Link link = scene.connect_warm();
  say(link.sender(), "hello, world");
  await_bytes(link.reader(), 12);
  std::string buffer = ".......";
  scene.saw("with a buffer", outcome(::recv(link.reader(), buffer.data(), 7, MSG_TRUNC | MSG_DONTWAIT)), quote(buffer));
  scene.saw("without", outcome(::recv(link.reader(), nullptr, 3, MSG_TRUNC | MSG_DONTWAIT)));
  scene.saw("the rest", receive(link.reader(), 10, MSG_DONTWAIT));
}

BEHAVIOUR("reading: SO_RCVLOWAT from the beginning") {
  const Prepare low_water = [](int fd) { set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 10); };
  Link link = scene.connect({}, low_water);
  for (int i = 0; i < 8; ++i) {
    say(link.sender(), "first");
    scene.saw("poll at 5 of 10", poll_names(poll_for(link.reader(), POLLIN, kMoment)));
    say(link.sender(), "later");
    scene.saw("poll at 10", await_events(link.reader(), POLLIN));
    scene.saw("recv", receive(link.reader(), 20, MSG_DONTWAIT));
  }
}

BEHAVIOUR("reading: SO_RCVLOWAT in mid-stream") {
  Link link = scene.connect_warm();
  set_option(link.reader(), SOL_SOCKET, SO_RCVLOWAT, 10);
  for (int i = 0; i < 4; ++i) {
    say(link.sender(), "first");
    scene.saw("poll at 5 of 10", poll_names(poll_for(link.reader(), POLLIN, kMoment)));
    say(link.sender(), "later");
    scene.saw("poll at 10", await_events(link.reader(), POLLIN));
    scene.saw("recv", receive(link.reader(), 20, MSG_DONTWAIT));
  }
}

BEHAVIOUR("reading: SO_RCVLOWAT while redirected bytes are unread") {
  Link link = scene.connect_warm();
  say(link.sender(), "first");
  await_bytes(link.reader(), 5);
  set_option(link.reader(), SOL_SOCKET, SO_RCVLOWAT, 10);
  scene.saw("poll at 5 of 10", poll_names(poll_for(link.reader(), POLLIN, kMoment)));
  say(link.sender(), "later");
  scene.saw("poll at 10", await_events(link.reader(), POLLIN));
  std::string all;
  while (all.size() < 10 && poll_for(link.reader(), POLLIN, kMoment) != 0) {
    std::array<char, 20> buffer{};
    const ssize_t n = ::recv(link.reader(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n > 0) all.append(buffer.data(), static_cast<std::size_t>(n));
  }
  scene.saw("read", quote(all));
}

BEHAVIOUR("reading: SO_PEEK_OFF") {
  Link link = scene.connect({}, [](int fd) { set_option(fd, SOL_SOCKET, SO_PEEK_OFF, 0); });
  exchange(link.client.get(), link.server.get(), 12);
  set_option(link.reader(), SOL_SOCKET, SO_PEEK_OFF, -1);  // await_bytes() peeks too
  say(link.sender(), "hello, world");
  await_bytes(link.reader(), 12);
  set_option(link.reader(), SOL_SOCKET, SO_PEEK_OFF, 2);
  scene.saw("peek of 3", receive(link.reader(), 3, MSG_PEEK | MSG_DONTWAIT));
  scene.saw("peek of 3", receive(link.reader(), 3, MSG_PEEK | MSG_DONTWAIT));
  scene.saw("read", receive(link.reader(), 20, MSG_DONTWAIT));
}

}  // namespace
}  // namespace underpass::test
