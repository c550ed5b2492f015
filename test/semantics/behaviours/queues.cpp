// SPDX-License-Identifier: Apache-2.0
// Who asks how much is queued, and urgent data.
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"

namespace underpass::test {
namespace {

std::string ask(int fd, unsigned long what) {
  int value = -1;
  return ::ioctl(fd, what, &value) == 0 ? std::to_string(value) : outcome(-1);
}

// FIONREAD while bytes come and go; `link` decides which way they came.
void count_unread(Scene& scene, Link& link) {
  scene.saw("FIONREAD at rest", ask(link.reader(), FIONREAD));
  for (int i = 0; i < 3; ++i) {
    say(link.sender(), "hello");
    say(link.sender(), "again");
    await_bytes(link.reader(), 10);
    scene.saw("FIONREAD of 10", ask(link.reader(), FIONREAD));
    scene.saw("read", receive(link.reader(), 3, MSG_DONTWAIT));
    scene.saw("FIONREAD of 7", ask(link.reader(), FIONREAD));
    scene.saw("read", receive(link.reader(), 10, MSG_DONTWAIT));
    scene.saw("FIONREAD of 0", ask(link.reader(), FIONREAD));
  }
  say(link.sender(), "last");
  ::shutdown(link.sender(), SHUT_WR);
  await_bytes(link.reader(), 4);
  scene.saw("FIONREAD of 4 before the end", ask(link.reader(), FIONREAD));
}

BEHAVIOUR("queues: FIONREAD in mid-stream") {
  Link link = scene.connect_warm();
  count_unread(scene, link);
}

BEHAVIOUR("queues: FIONREAD from the first byte") {
  Link link = scene.connect();
  count_unread(scene, link);
}

BEHAVIOUR("queues: SIOCOUTQ") {
  Link link = scene.connect_warm();
  say(link.sender(), "hello");
  await_bytes(link.reader(), 5);
  (void)eventually(kPatience, [&] { return ask(link.sender(), SIOCOUTQ) == "0"; });
  scene.saw("SIOCOUTQ when the peer's kernel has the bytes", ask(link.sender(), SIOCOUTQ));
  scene.saw("SIOCOUTQNSD", ask(link.sender(), SIOCOUTQNSD));
  scene.saw("read", receive(link.reader(), 10, MSG_DONTWAIT));
  scene.saw("SIOCOUTQ", ask(link.sender(), SIOCOUTQ));
}

BEHAVIOUR("queues: SIOCATMARK without urgent data") {
  Link link = scene.connect_warm();
  say(link.sender(), "hello");
  await_bytes(link.reader(), 5);
  scene.saw("SIOCATMARK", ask(link.reader(), SIOCATMARK));
  scene.saw("read", receive(link.reader(), 10, MSG_DONTWAIT));
  scene.saw("SIOCATMARK", ask(link.reader(), SIOCATMARK));
}

void send_urgent(const Link& link) {
  say(link.sender(), "abc");
  [[maybe_unused]] const ssize_t n = ::send(link.sender(), "!", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
  say(link.sender(), "def");
}

BEHAVIOUR("queues: MSG_OOB and SIOCATMARK") {
  Link link = scene.connect_warm();
  send_urgent(link);
  scene.saw("poll for POLLPRI", poll_names(static_cast<short>(poll_for(link.reader(), POLLPRI, kMoment))));
  (void)eventually(milliseconds(300),
                   [&] { return receive(link.reader(), 10, MSG_PEEK | MSG_DONTWAIT).starts_with("7"); });
  scene.saw("recv with MSG_OOB", receive(link.reader(), 1, MSG_OOB | MSG_DONTWAIT));
  scene.saw("read up to the mark", receive_next(link.reader(), 10));
  scene.saw("at the mark", ask(link.reader(), SIOCATMARK));
  scene.saw("read on", receive_next(link.reader(), 10));
}

BEHAVIOUR("queues: SO_OOBINLINE") {
  Link link = scene.connect_warm();
  set_option(link.reader(), SOL_SOCKET, SO_OOBINLINE, 1);
  send_urgent(link);
  (void)eventually(milliseconds(300),
                   [&] { return receive(link.reader(), 10, MSG_PEEK | MSG_DONTWAIT).starts_with("7"); });
  scene.saw("poll for POLLPRI", poll_names(poll_for(link.reader(), POLLPRI, kMoment)));
  scene.saw("read up to the mark", receive_next(link.reader(), 10));
  scene.saw("at the mark", ask(link.reader(), SIOCATMARK));
  scene.saw("read on", receive_next(link.reader(), 10));
}

}  // namespace
}  // namespace underpass::test
