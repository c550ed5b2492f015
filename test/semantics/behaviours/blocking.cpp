// SPDX-License-Identifier: Apache-2.0
// A thread that sleeps in recv() or send(), and what may wake it.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <csignal>
#include <stdexcept>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

using Disturb = std::function<void(Link&, const Task& reader)>;

// A reader sleeps, `disturb` happens, and at last a byte comes for a reader that is still there.
void disturb_reader(Scene& scene, Link& link, const Disturb& disturb) {
  std::string got;
  Task reader([&] { got = receive(link.reader(), 100, 0); }, link.reader());
  if (!reader.eventually_sleeps_in(SYS_recvfrom)) throw std::runtime_error("the reader does not sleep: " + got);
  disturb(link, reader);
  (void)eventually(milliseconds(150), [&] { return reader.done(); });  // if it is disturbed, then now
  [[maybe_unused]] const ssize_t n = ::send(link.sender(), "x", 1, MSG_NOSIGNAL);
  reader.join();
  scene.saw("the reader got", got);
}

void signal_reader(Scene& scene, int flags) {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  action.sa_flags = flags;
  ::sigaction(SIGUSR1, &action, nullptr);
  Link link = scene.connect_warm();
  disturb_reader(scene, link, [](Link&, const Task& reader) { reader.signal(SIGUSR1); });
  say(link.sender(), "later");
  scene.saw("later", receive_next(link.reader(), 100));
}

void set_timeout(int fd, int option, milliseconds timeout) {
  const timeval value{.tv_sec = timeout.count() / 1000, .tv_usec = timeout.count() % 1000 * 1000};
  if (::setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) != 0) throw std::runtime_error("no time-out");
}

BEHAVIOUR("blocking: recv sleeps until bytes come") {
  Link link = scene.connect_warm();
  for (const char* text : {"hello", "hello again", "x"}) {
    std::string got;
    Task reader([&] { got = receive(link.reader(), 100, 0); }, link.reader());
    scene.saw("sleeps", yes(reader.eventually_sleeps_in(SYS_recvfrom)));
    say(link.sender(), text);
    reader.join();
    scene.saw("recv", got);
  }
}

BEHAVIOUR("blocking: a reader asleep before the first byte") {
  Link link = scene.connect();
  std::string got;
  Task reader(
      [&] {
        std::string buffer(100, '\0');
        for (ssize_t n = 0; got.size() < 40 && (n = ::recv(link.reader(), buffer.data(), buffer.size(), 0)) > 0;) {
          got.append(buffer, 0, static_cast<std::size_t>(n));
        }
      },
      link.reader());
  for (char c = 'a'; c < 'a' + 20; ++c) {
    if (!reader.eventually_sleeps_in(SYS_recvfrom)) throw std::runtime_error("the reader does not sleep");
    say(link.sender(), std::string(2, c));
  }
  reader.join();
  scene.saw("got", quote(got));
}

BEHAVIOUR("blocking: requests and answers between two sleeping threads") {
  Link link = scene.connect_warm();
  static constexpr int kRounds = 200;
  Task echo(
      [&] {
        char byte = 0;
        for (int i = 0; i < kRounds && ::recv(link.reader(), &byte, 1, 0) == 1; ++i) {
          ++byte;
          if (::send(link.reader(), &byte, 1, MSG_NOSIGNAL) != 1) return;
        }
      },
      link.reader());
  int right = 0;
  for (int i = 0; i < kRounds; ++i) {
    const char sent = static_cast<char>(i % 100);
    char got = 0;
    if (::send(link.sender(), &sent, 1, MSG_NOSIGNAL) != 1 || ::recv(link.sender(), &got, 1, 0) != 1) break;
    right += got == sent + 1 ? 1 : 0;
  }
  scene.saw(right, "answers are right");
}

BEHAVIOUR("blocking: a signal with SA_RESTART") { signal_reader(scene, SA_RESTART); }

BEHAVIOUR("blocking: a signal without SA_RESTART") { signal_reader(scene, 0); }

BEHAVIOUR("blocking: another thread shuts down sending") {
  Link link = scene.connect_warm();
  disturb_reader(scene, link, [](Link& l, const Task&) { ::shutdown(l.reader(), SHUT_WR); });
}

BEHAVIOUR("blocking: another thread shuts down reading") {
  Link link = scene.connect_warm();
  disturb_reader(scene, link, [](Link& l, const Task&) { ::shutdown(l.reader(), SHUT_RD); });
}

BEHAVIOUR("blocking: another thread sends on the same socket") {
  Link link = scene.connect_warm();
  disturb_reader(scene, link, [](Link& l, const Task&) {
    for (int i = 0; i < 3; ++i) say(l.reader(), "from the sleeper's own side");
  });
  scene.saw("the other side", receive_next(link.sender(), 27));
}

BEHAVIOUR("blocking: the peer half-closes while the reader sleeps") {
  Link link = scene.connect_warm();
  disturb_reader(scene, link, [](Link& l, const Task&) { ::shutdown(l.sender(), SHUT_WR); });
}

BEHAVIOUR("blocking: the peer closes while the reader sleeps") {
  Link link = scene.connect_warm();
  disturb_reader(scene, link, [&](Link& l, const Task&) { scene.close(l.sending_end()); });
}

BEHAVIOUR("blocking: the peer resets while the reader sleeps") {
  Link link = scene.connect_warm();
  disturb_reader(scene, link, [](Link& l, const Task&) {
    sockaddr unspecified{};
    ::connect(l.sender(), &unspecified, sizeof unspecified);  // AF_UNSPEC aborts
  });
}

BEHAVIOUR("blocking: SO_RCVTIMEO") {
  Link link = scene.connect_warm();
  set_timeout(link.reader(), SO_RCVTIMEO, milliseconds(60));
  const auto start = Clock::now();
  scene.saw("recv of nothing", receive(link.reader(), 10, 0), "not before its time",
            yes(Clock::now() - start >= milliseconds(55)));
  say(link.sender(), "hello");
  scene.saw("then", receive_next(link.reader(), 10));
  std::string got;
  set_timeout(link.reader(), SO_RCVTIMEO, kPatience);
  Task reader([&] { got = receive(link.reader(), 10, 0); }, link.reader());
  (void)reader.eventually_sleeps_in(SYS_recvfrom);
  say(link.sender(), "in time");
  reader.join();
  scene.saw("in time", got);
}

BEHAVIOUR("blocking: SO_SNDTIMEO") {
  Link link = scene.connect_warm();
  set_timeout(link.sender(), SO_SNDTIMEO, milliseconds(60));
  const std::string bytes = payload(0, 48u << 20);
  const ssize_t part = ::send(link.sender(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  scene.saw("a send that does not fit is cut short", yes(part > 0 && part < static_cast<ssize_t>(bytes.size())));
  // TCP may make a little room while it sends: full is what stays full.
  auto sent = static_cast<std::uint64_t>(part);
  auto start = Clock::now();
  ssize_t n = 0;
  while (sent < bytes.size() && (n = ::send(link.sender(), bytes.data() + sent, 1, MSG_NOSIGNAL)) == 1) {
    start = Clock::now();
    ++sent;
  }
  scene.saw("at last", outcome(n), "not before its time", yes(Clock::now() - start >= milliseconds(55)));
  const std::string got = read_payload(link.reader(), sent);
  scene.saw("what was sent is read", yes(got == std::to_string(sent) + " bytes, all right"));
  scene.saw("and no more", receive(link.reader(), 10, MSG_DONTWAIT));
}

BEHAVIOUR("blocking: a send that sleeps until there is room") {
  Link link = scene.connect_warm();
  const std::string bytes = payload(0, 48u << 20);
  ssize_t sent = 0;
  Task writer([&] { sent = ::send(link.sender(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }, link.sender());
  scene.saw("sleeps", yes(writer.eventually_sleeps_in(SYS_sendto)));
  scene.saw(read_payload(link.reader(), bytes.size()));
  writer.join();
  scene.saw("sent", sent);
}

}  // namespace
}  // namespace underpass::test
