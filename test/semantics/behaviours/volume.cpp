// SPDX-License-Identifier: Apache-2.0
// Very small and very large messages, and readers that are slower than their senders.
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

BEHAVIOUR("volume: writes of one byte") {
  Link link = scene.connect_warm();
  scene.saw(transfer(link.sender(), link.reader(), 20000, 1, 100));
}

BEHAVIOUR("volume: writes of one byte that wait for a reader") {
  Link link = scene.connect_warm();
  for (std::uint64_t i = 0; i < 3000; ++i) say(link.sender(), payload(i, 1));
  scene.saw(read_payload(link.reader(), 3000));
}

BEHAVIOUR("volume: reads of one byte") {
  Link link = scene.connect_warm();
  scene.saw(transfer(link.sender(), link.reader(), 30000, 1000, 1));
}

BEHAVIOUR("volume: one write of 64 MiB") {
  Link link = scene.connect_warm();
  const std::string bytes = payload(0, 64u << 20);
  ssize_t sent = 0;
  Task sender([&] { sent = ::send(link.sender(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }, link.sender());
  const std::string got = read_payload(link.reader(), bytes.size(), 1u << 20);
  scene.saw(got);
  if (!got.ends_with("right")) ::shutdown(link.reader(), SHUT_RDWR);
  sender.join();
  scene.saw("sent", sent);
}

BEHAVIOUR("volume: bulk there and back") {
  Link link = scene.connect_warm();
  scene.saw(transfer(link.sender(), link.reader(), 8u << 20, 65536));
  scene.saw(transfer(link.reader(), link.sender(), 8u << 20, 65536));
}

BEHAVIOUR("volume: messages of all sizes") {
  Link link = scene.connect_warm();
  for (const std::size_t size : {1u, 2u, 1447u, 1448u, 1449u, 4096u, 16384u, 65535u, 65536u, 65537u, 300000u}) {
    scene.saw(size, transfer(link.sender(), link.reader(), size * 4, size));
  }
}

BEHAVIOUR("volume: a slow reader") {
  Link link = scene.connect_warm();
  static constexpr std::uint64_t kTotal = 12u << 20;
  Task sender([&] { send_all(link.sender(), payload(0, kTotal)); }, link.sender());
  std::uint64_t got = 0;
  bool right = true;
  std::string buffer(64000, '\0');
  // It reads only when the sender has long been waiting: each time the socket holds more than one read.
  while (got < kTotal && poll_for(link.reader(), POLLIN, kPatience) != 0) {
    if (!sender.done()) ::poll(nullptr, 0, 1);
    const ssize_t n = ::recv(link.reader(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n <= 0) continue;
    right = right && buffer.substr(0, static_cast<std::size_t>(n)) == payload(got, static_cast<std::size_t>(n));
    got += static_cast<std::uint64_t>(n);
  }
  scene.saw("got", got, "right", yes(right));
  if (got < kTotal) ::shutdown(link.reader(), SHUT_RDWR);
}

BEHAVIOUR("volume: a reader that stalls, then reads all") {
  Link link = scene.connect_warm();
  for (int round = 0; round < 2; ++round) {
    const std::uint64_t sent = fill(link.sender(), 30000);
    scene.saw("the sender is stopped", yes(sent < (64u << 20)));
    const std::string got = read_payload(link.reader(), sent);
    scene.saw("what was sent is read", yes(got == std::to_string(sent) + " bytes, all right"));
    scene.saw("and no more", receive(link.reader(), 10, MSG_DONTWAIT));
  }
}

// A program that changes its buffer after send() has returned, as every program may.
BEHAVIOUR("volume: the sender's buffer is used again at once") {
  Link link = scene.connect_warm();
  std::string buffer(10000, '\0');
  for (std::uint64_t i = 0; i < 6; ++i) {
    buffer = payload(i * 10000, 10000);
    say(link.sender(), buffer);
    buffer.assign(buffer.size(), 'x');
  }
  scene.saw(read_payload(link.reader(), 60000));
}

BEHAVIOUR("volume: a buffer that is half unmapped") {
  Link link = scene.connect_warm();
  static constexpr std::size_t kPage = 4096;
  auto* pages =
      static_cast<char*>(::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (pages == MAP_FAILED) throw Skip("no mmap");
  ::munmap(pages + kPage, kPage);
  scene.saw("send from a wrong address",
            outcome(::send(link.sender(), pages + kPage, 10, MSG_DONTWAIT | MSG_NOSIGNAL)));
  say(link.sender(), "hello");
  await_bytes(link.reader(), 5);
  scene.saw("recv to a wrong address", outcome(::recv(link.reader(), pages + kPage, 10, MSG_DONTWAIT)));
  scene.saw("recv to a right one", receive(link.reader(), 10, MSG_DONTWAIT));
  ::munmap(pages, kPage);
}

}  // namespace
}  // namespace underpass::test
