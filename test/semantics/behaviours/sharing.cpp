// SPDX-License-Identifier: Apache-2.0
// One socket in many hands: threads, processes, descriptors.
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"
#include "test/support/files.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

BEHAVIOUR("sharing: a dup'ed socket") {
  Link link = scene.connect_warm();
  UniqueFd copy(::dup(link.reader()));
  say(link.sender(), "hello, world");
  await_bytes(copy.get(), 12);
  scene.saw("by the copy", receive(copy.get(), 5, MSG_DONTWAIT));
  scene.saw("by the first", receive(link.reader(), 20, MSG_DONTWAIT));
  link.reading_end() = std::move(copy);
  say(link.sender(), "still there");
  scene.saw("when the first is closed", receive_next(link.reader(), 20));
  say(link.reader(), "answer");
  scene.saw("the other way", receive_next(link.sender(), 20));
  scene.saw("no end", poll_names(poll_for(link.sender(), POLLIN | POLLRDHUP, kMoment)));
  scene.close(link.reading_end());
  scene.saw("when all are closed", receive_next(link.sender(), 20));
}

BEHAVIOUR("sharing: a child reads from an inherited socket") {
  Link link = scene.connect_warm();
  say(link.sender(), payload(0, 1000));
  {
    Child child([&] {
      if (read_payload(link.reader(), 3000) != "3000 bytes, all right") return 1;
      say(link.reader(), "from the child");
      return 0;
    });
    say(link.sender(), payload(1000, 2000));
    scene.saw("the child", child.wait());
  }
  scene.saw("its answer", receive_next(link.sender(), 20));
  say(link.sender(), "and the parent");
  scene.saw("the parent", receive_next(link.reader(), 20));
}

BEHAVIOUR("sharing: a child writes to an inherited socket") {
  Link link = scene.connect_warm();
  Child child([&] {
    send_all(link.sender(), payload(0, 500000));
    return 0;
  });
  scene.saw(read_payload(link.reader(), 500000));
  scene.saw("the child", child.wait());
  say(link.sender(), "and the parent");
  scene.saw("the parent", receive_next(link.reader(), 20));
}

// Through a unix socket, and the original is closed.
UniqueFd pass(UniqueFd socket) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) throw_errno("socketpair");
  const UniqueFd in(ends[0]);
  const UniqueFd out(ends[1]);
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  int fd = socket.get();
  std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  if (::sendmsg(in.get(), &message, 0) != 1) throw_errno("SCM_RIGHTS");
  socket.reset();
  if (::recvmsg(out.get(), &message, MSG_CMSG_CLOEXEC) != 1) throw_errno("SCM_RIGHTS");
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return UniqueFd(fd);
}

BEHAVIOUR("sharing: a socket passed by SCM_RIGHTS, with bytes in it") {
  Link link = scene.connect_warm();
  say(link.sender(), "hello, world");
  await_bytes(link.reader(), 12);
  link.reading_end() = pass(std::move(link.reading_end()));
  scene.saw("read", receive(link.reader(), 20, MSG_DONTWAIT));
  link.sending_end() = pass(std::move(link.sending_end()));
  scene.saw(transfer(link.sender(), link.reader(), 300000, 5000));
  scene.saw(transfer(link.reader(), link.sender(), 300000, 5000));
}

// Each thread sends its own letter: what arrives must be all of it, in whatever order.
BEHAVIOUR("sharing: many threads send on one socket") {
  Link link = scene.connect_warm();
  static constexpr std::size_t kThreads = 6;
  static constexpr std::size_t kEach = 300000;
  std::vector<std::unique_ptr<Task>> senders;
  for (std::size_t i = 0; i < kThreads; ++i) {
    senders.push_back(std::make_unique<Task>(
        [&link, i] {
          const std::string bytes(1000, static_cast<char>('a' + i));
          for (std::size_t sent = 0; sent < kEach; sent += bytes.size()) send_all(link.sender(), bytes);
        },
        link.sender()));
  }
  std::array<std::size_t, 256> count{};
  std::string buffer(30000, '\0');
  for (std::size_t total = 0; total < kThreads * kEach;) {
    if (poll_for(link.reader(), POLLIN, kPatience) == 0) break;
    const ssize_t n = ::recv(link.reader(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) continue;
    if (n <= 0) break;
    for (ssize_t i = 0; i < n; ++i) ++count[static_cast<unsigned char>(buffer[static_cast<std::size_t>(i)])];
    total += static_cast<std::size_t>(n);
  }
  for (std::size_t i = 0; i < kThreads; ++i) scene.saw(static_cast<char>('a' + i), count['a' + i]);
  if (count['a'] < kEach) ::shutdown(link.reader(), SHUT_RDWR);
}

BEHAVIOUR("sharing: many threads read from one socket") {
  Link link = scene.connect_warm();
  static constexpr std::size_t kTotal = 2000000;
  std::array<std::atomic<std::size_t>, 26> count{};
  std::atomic<std::size_t> total = 0;
  {
    std::vector<std::unique_ptr<Task>> readers;
    for (int thread = 0; thread < 4; ++thread) {
      readers.push_back(std::make_unique<Task>([&] {
        std::string buffer(5000, '\0');
        while (total < kTotal && poll_for(link.reader(), POLLIN, milliseconds(500)) != 0) {
          const ssize_t n = ::recv(link.reader(), buffer.data(), buffer.size(), MSG_DONTWAIT);
          if (n < 0 && errno == EAGAIN) continue;
          if (n <= 0) return;
          for (ssize_t i = 0; i < n; ++i)
            ++count[static_cast<std::size_t>(buffer[static_cast<std::size_t>(i)] - 'a') % 26];
          total += static_cast<std::size_t>(n);
        }
      }));
    }
    std::string bytes(2600, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>('a' + i % 26);
    for (std::size_t sent = 0; sent < kTotal; sent += bytes.size()) {
      send_all(link.sender(), bytes.substr(0, std::min(bytes.size(), kTotal - sent)));
    }
  }
  scene.saw("in all", total.load(), "a", count[0].load(), "z", count[25].load());
}

BEHAVIOUR("sharing: many threads sleep in recv on one socket") {
  Link link = scene.connect_warm();
  static constexpr int kReaders = 4;
  static constexpr std::size_t kTotal = 400;
  std::atomic<std::size_t> total = 0;
  {
    std::vector<std::unique_ptr<Task>> readers;
    for (int thread = 0; thread < kReaders; ++thread) {
      readers.push_back(std::make_unique<Task>(
          [&] {
            char byte = 0;
            while (::recv(link.reader(), &byte, 1, 0) == 1) ++total;
          },
          link.reader()));
    }
    for (std::size_t i = 0; i < kTotal; ++i) say(link.sender(), "x");
    (void)eventually(kPatience, [&] { return total == kTotal; });
    ::shutdown(link.sender(), SHUT_WR);
    (void)eventually(kPatience, [&] { return std::ranges::all_of(readers, [](auto& one) { return one->done(); }); });
    scene.saw("all threads saw the end", yes(std::ranges::all_of(readers, [](auto& one) { return one->done(); })));
  }
  scene.saw("bytes read", total.load());
}

BEHAVIOUR("sharing: threads that send and read at the same time, with poll") {
  Link link = scene.connect_warm();
  static constexpr std::uint64_t kTotal = 3000000;
  std::array<std::string, 2> got;
  {
    Task up([&] { send_all(link.sender(), payload(0, kTotal)); }, link.sender());
    Task down([&] { send_all(link.reader(), payload(0, kTotal)); }, link.reader());
    Task reads([&] { got[0] = read_payload(link.reader(), kTotal); });
    got[1] = read_payload(link.sender(), kTotal);
  }
  scene.saw("there", got[0]);
  scene.saw("back", got[1]);
}

}  // namespace
}  // namespace underpass::test
