// SPDX-License-Identifier: Apache-2.0
// Sockets in the hands of io_uring: the kernel itself waits and reads. The ring is there before the connection, as in
// the programs that use one: a task that has none when it dials is not declined.
#include "test/semantics/uring.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"

namespace underpass::test {
namespace {

io_uring_sqe entry(std::uint8_t operation, int fd, void* buffer = nullptr, unsigned size = 0, unsigned flags = 0) {
  io_uring_sqe sqe{};
  sqe.opcode = operation;
  sqe.fd = fd;
  sqe.addr = reinterpret_cast<std::uintptr_t>(buffer);
  sqe.len = size;
  sqe.msg_flags = flags;
  return sqe;
}

std::string result_of(const std::optional<Completion>& done) {
  if (!done) return "no completion";
  if (done->res >= 0) return std::to_string(done->res);
  errno = -done->res;
  return outcome(-1);
}

BEHAVIOUR("io_uring: send and recv") {
  Uring ring;
  Link link = scene.connect_warm();
  for (int i = 0; i < 5; ++i) {
    std::string text = "hello";
    ring.submit(entry(IORING_OP_SEND, link.sender(), text.data(), 5, MSG_NOSIGNAL));
    scene.saw("send", result_of(ring.next(kPatience)));
    await_bytes(link.reader(), 5);
    std::string got(10, '\0');
    ring.submit(entry(IORING_OP_RECV, link.reader(), got.data(), 10));
    scene.saw("recv", result_of(ring.next(kPatience)), quote(got.substr(0, 5)));
  }
}

BEHAVIOUR("io_uring: a recv that waits for bytes") {
  Uring ring;
  Link link = scene.connect_warm();
  for (int i = 0; i < 5; ++i) {
    std::string got(10, '\0');
    ring.submit(entry(IORING_OP_RECV, link.reader(), got.data(), 10));
    scene.saw("at once", result_of(ring.next(milliseconds(5))));
    say(link.sender(), "hello");
    scene.saw("then", result_of(ring.next(kPatience)), quote(got.substr(0, 5)));
  }
  std::string got(10, '\0');
  ring.submit(entry(IORING_OP_RECV, link.reader(), got.data(), 10));
  ::shutdown(link.sender(), SHUT_WR);
  scene.saw("the end", result_of(ring.next(kPatience)));
}

BEHAVIOUR("io_uring: a recv that waits from before the first byte") {
  Uring ring;
  Link link = scene.connect();
  for (int i = 0; i < 12; ++i) {
    std::string got(10, '\0');
    ring.submit(entry(IORING_OP_RECV, link.reader(), got.data(), 10));
    say(link.sender(), "hello");
    scene.saw(result_of(ring.next(kPatience)), quote(got.substr(0, 5)));
  }
}

BEHAVIOUR("io_uring: recv with MSG_WAITALL") {
  Uring ring;
  Link link = scene.connect_warm();
  std::string got(10, '\0');
  ring.submit(entry(IORING_OP_RECV, link.reader(), got.data(), 10, MSG_WAITALL));
  say(link.sender(), "first");
  scene.saw("at 5 of 10", result_of(ring.next(kMoment)));
  say(link.sender(), "later");
  scene.saw("at 10", result_of(ring.next(kPatience)), quote(got));
}

BEHAVIOUR("io_uring: multishot recv") {
  static constexpr std::size_t kBuffers = 8;
  static constexpr std::size_t kSize = 64;
  std::array<char, kBuffers * kSize> buffers{};  // outlives the ring that fills them
  Uring ring;
  Link link = scene.connect_warm();
  io_uring_sqe provide = entry(IORING_OP_PROVIDE_BUFFERS, kBuffers, buffers.data(), kSize);
  provide.buf_group = 1;
  ring.submit(provide);
  if (result_of(ring.next(kPatience)).starts_with("E")) throw Skip("io_uring takes no buffers");
  io_uring_sqe receive = entry(IORING_OP_RECV, link.reader());
  receive.flags = IOSQE_BUFFER_SELECT;
  receive.buf_group = 1;
  receive.ioprio = IORING_RECV_MULTISHOT;
  ring.submit(receive);
  for (int i = 0; i < 6; ++i) {
    say(link.sender(), "hello " + std::to_string(i));
    const auto done = ring.next(kPatience);
    if (done && done->res == -EINVAL) throw Skip("io_uring without multishot recv");
    std::string got = "nothing";
    if (done && (done->flags & IORING_CQE_F_BUFFER) != 0 && done->res > 0) {
      const std::size_t at = (done->flags >> IORING_CQE_BUFFER_SHIFT) * kSize;
      got = quote({buffers.data() + at, static_cast<std::size_t>(done->res)});
    }
    scene.saw(result_of(done), got, "more to come", yes(done && (done->flags & IORING_CQE_F_MORE) != 0));
  }
  ::shutdown(link.sender(), SHUT_WR);
  const auto end = ring.next(kPatience);
  scene.saw("the end", result_of(end), "more to come", yes(end && (end->flags & IORING_CQE_F_MORE) != 0));
}

BEHAVIOUR("io_uring: poll, then recv") {
  Uring ring;
  Link link = scene.connect_warm();
  for (int i = 0; i < 3; ++i) {
    io_uring_sqe poll = entry(IORING_OP_POLL_ADD, link.reader());
    poll.poll32_events = POLLIN;
    ring.submit(poll);
    scene.saw("at once", result_of(ring.next(milliseconds(5))));
    say(link.sender(), "hello");
    const auto done = ring.next(kPatience);
    scene.saw("then", done ? poll_names(static_cast<short>(done->res & POLLIN)) : "nothing",
              receive(link.reader(), 10, MSG_DONTWAIT));
  }
}

BEHAVIOUR("io_uring: send without a copy") {
  std::string bytes = payload(0, 20000);
  Uring ring;
  Link link = scene.connect_warm();
  io_uring_sqe send = entry(IORING_OP_SEND_ZC, link.sender(), bytes.data(), 20000, MSG_NOSIGNAL);
  ring.submit(send);
  const auto first = ring.next(kPatience);
  if (first && first->res == -EINVAL) throw Skip("io_uring without IORING_OP_SEND_ZC");
  scene.saw("send", result_of(first), "more to come", yes(first && (first->flags & IORING_CQE_F_MORE) != 0));
  scene.saw(read_payload(link.reader(), 20000));
  if (first && (first->flags & IORING_CQE_F_MORE) != 0) {
    const auto second = ring.next(kPatience);
    scene.saw("the buffer is free again", yes(second && (second->flags & IORING_CQE_F_NOTIF) != 0));
  }
}

}  // namespace
}  // namespace underpass::test
