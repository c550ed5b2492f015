// SPDX-License-Identifier: Apache-2.0
// Bytes that move without being copied through the program: splice, sendfile, vmsplice, MSG_ZEROCOPY and
// TCP_ZEROCOPY_RECEIVE.
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"
#include "test/support/files.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

constexpr std::size_t kFew = 50000;

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw_errno("pipe");
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  UniqueFd out;
  UniqueFd in;
};

UniqueFd file_of(const std::string& bytes) {
  UniqueFd file(::memfd_create("bytes", MFD_CLOEXEC));
  if (!file || ::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    throw_errno("memfd");
  }
  return file;
}

// Moves bytes from a socket through a pipe into `sink` until `total` are there or nothing comes for a while.
std::string splice_out(int socket, std::size_t total, const std::function<void(std::string_view)>& sink) {
  const Pipe pipe;
  std::size_t moved = 0;
  std::string buffer(65536, '\0');
  const auto end = Clock::now() + seconds(1);
  while (moved < total && Clock::now() < end) {
    if (poll_for(socket, POLLIN, milliseconds(500)) == 0) return std::to_string(moved) + ", then nothing";
    const ssize_t n =
        ::splice(socket, nullptr, pipe.in.get(), nullptr, total - moved, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0 && errno == EAGAIN) {
      ::poll(nullptr, 0, 1);  // poll() says that there is something, splice() does not: not as fast as we can
      continue;
    }
    if (n <= 0) return std::to_string(moved) + ", then " + outcome(n);
    for (ssize_t left = n; left > 0;) {
      const ssize_t m = ::read(pipe.out.get(), buffer.data(), buffer.size());
      if (m <= 0) return "the pipe: " + outcome(m);
      sink({buffer.data(), static_cast<std::size_t>(m)});
      left -= m;
    }
    moved += static_cast<std::size_t>(n);
  }
  return std::to_string(moved) + (moved < total ? ", then EAGAIN for ever" : "");
}

void splice_from(Scene& scene, Link& link) {
  set_nonblocking(link.reader(), true);  // SPLICE_F_NONBLOCK is about the pipe alone
  say(link.sender(), payload(0, kFew));
  std::string got;
  scene.saw("spliced", splice_out(link.reader(), kFew, [&](std::string_view bytes) { got += bytes; }));
  scene.saw("all right", yes(got == payload(0, kFew)));
  say(link.sender(), "more");
  scene.saw("spliced", splice_out(link.reader(), 4, [&](std::string_view bytes) { scene.saw(quote(bytes)); }));
}

BEHAVIOUR("pages: splice from the socket, from the first byte") {
  Link link = scene.connect();
  splice_from(scene, link);
  for (int i = 0; i < 8; ++i) {
    say(link.sender(), "message");
    scene.saw(splice_out(link.reader(), 7, [&](std::string_view bytes) { scene.saw(quote(bytes)); }));
  }
}

BEHAVIOUR("pages: splice from the socket in mid-stream") {
  Link link = scene.connect_warm();
  splice_from(scene, link);
}

// What Go's io.Copy does between two TCP connections.
BEHAVIOUR("pages: splice between two connections") {
  Link in = scene.connect_warm();
  Link out = scene.connect_warm();
  set_nonblocking(in.reader(), true);
  say(in.sender(), payload(0, kFew));
  scene.saw("copied", splice_out(in.reader(), kFew, [&](std::string_view bytes) { say(out.sender(), bytes); }));
  const std::string got = read_payload(out.reader(), kFew);
  scene.saw(got);
}

BEHAVIOUR("pages: splice by a reader that sleeps") {
  Link link = scene.connect_warm();
  const Pipe pipe;
  std::string got;
  Task reader([&] { got = outcome(::splice(link.reader(), nullptr, pipe.in.get(), nullptr, 100, 0)); }, link.reader());
  (void)reader.eventually_sleeps_in(SYS_splice);
  say(link.sender(), "hello");
  scene.saw("wakes up", yes(eventually(seconds(1), [&] { return reader.done(); })));
  if (!reader.done()) ::shutdown(link.reader(), SHUT_RDWR);
  reader.join();
  scene.saw("spliced", got);
}

BEHAVIOUR("pages: splice into the socket") {
  Link link = scene.connect_warm();
  const Pipe pipe;
  for (std::uint64_t offset = 0; offset < 8 * 30000; offset += 30000) {
    const std::string bytes = payload(offset, 30000);
    if (::write(pipe.in.get(), bytes.data(), bytes.size()) != 30000) throw_errno("pipe");
    scene.saw("splice", outcome(::splice(pipe.out.get(), nullptr, link.sender(), nullptr, 30000, SPLICE_F_MOVE)));
    await_bytes(link.reader(), 30000);
    std::string got(30000, '\0');
    (void)!::recv(link.reader(), got.data(), got.size(), MSG_DONTWAIT);
    scene.saw("right", yes(got == bytes));
  }
}

BEHAVIOUR("pages: vmsplice into a pipe, then splice into the socket") {
  Link link = scene.connect_warm();
  const Pipe pipe;
  std::string bytes = payload(0, 40000);
  const iovec part{bytes.data(), bytes.size()};
  scene.saw("vmsplice", outcome(::vmsplice(pipe.in.get(), &part, 1, 0)));
  scene.saw("splice", outcome(::splice(pipe.out.get(), nullptr, link.sender(), nullptr, bytes.size(), 0)));
  scene.saw(read_payload(link.reader(), bytes.size()));
}

BEHAVIOUR("pages: sendfile into the socket") {
  Link link = scene.connect_warm();
  const UniqueFd file = file_of(payload(0, 3u << 20));
  off_t offset = 0;
  Task sender(
      [&] {
        while (offset < (3 << 20)) {
          if (::sendfile(link.sender(), file.get(), &offset, (3 << 20) - static_cast<std::size_t>(offset)) <= 0) return;
        }
      },
      link.sender());
  scene.saw(read_payload(link.reader(), 3u << 20));
  sender.join();
  scene.saw("offset", offset);
}

BEHAVIOUR("pages: sendfile into a non-blocking socket, with a header before it") {
  Link link = scene.connect_warm();
  set_nonblocking(link.sender(), true);
  const UniqueFd file = file_of(payload(6, 20000));
  off_t offset = 0;
  const std::string header = payload(0, 6);
  scene.saw("header", outcome(::send(link.sender(), header.data(), header.size(), MSG_MORE | MSG_NOSIGNAL)));
  scene.saw("sendfile", outcome(::sendfile(link.sender(), file.get(), &offset, 20000)));
  scene.saw(read_payload(link.reader(), 20006));
}

// How many sends the kernel has reported as done, in the socket's error queue.
std::uint32_t completions(int fd, std::uint32_t wanted) {
  std::uint32_t count = 0;
  (void)eventually(seconds(2), [&] {
    alignas(cmsghdr) std::array<char, 256> control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return count >= wanted;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      sock_extended_err error{};
      std::memcpy(&error, CMSG_DATA(part), sizeof error);
      if (error.ee_origin == SO_EE_ORIGIN_ZEROCOPY) count += error.ee_data - error.ee_info + 1;
    }
    return count >= wanted;
  });
  return count;
}

void send_zerocopy(Scene& scene, Link& link) {
  const std::string bytes = payload(0, 80000);
  for (std::size_t offset = 0; offset < bytes.size(); offset += 20000) {
    scene.saw("send", outcome(::send(link.sender(), bytes.data() + offset, 20000, MSG_ZEROCOPY | MSG_NOSIGNAL)));
  }
  scene.saw(read_payload(link.reader(), bytes.size()));
  scene.saw("sends reported as done", completions(link.sender(), 4));
}

BEHAVIOUR("pages: MSG_ZEROCOPY, announced before connect") {
  Link link = scene.connect([](int fd) { set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1); });
  scene.warm_up(link);
  send_zerocopy(scene, link);
}

BEHAVIOUR("pages: MSG_ZEROCOPY, announced in mid-stream") {
  Link link = scene.connect_warm();
  set_option(link.sender(), SOL_SOCKET, SO_ZEROCOPY, 1);
  send_zerocopy(scene, link);
}

BEHAVIOUR("pages: MSG_ZEROCOPY without SO_ZEROCOPY") {
  Link link = scene.connect_warm();
  scene.saw("send", outcome(::send(link.sender(), "hello", 5, MSG_ZEROCOPY | MSG_DONTWAIT | MSG_NOSIGNAL)));
  scene.saw("read", receive_next(link.reader(), 10));
  scene.saw("sends reported as done", completions(link.sender(), 0));
}

// TCP gives pages where it can and says how many bytes are to be read with recv(): only the sum is certain.
void receive_zerocopy(Scene& scene, Link& link) {
  static constexpr std::size_t kWindow = 65536;
  static constexpr std::size_t kTotal = 400000;
  void* window = ::mmap(nullptr, kWindow, PROT_READ, MAP_SHARED, link.reader(), 0);
  if (window == MAP_FAILED) throw Skip("no mmap of a TCP socket: " + outcome(-1));
  Task sender([&] { send_all(link.sender(), payload(0, kTotal)); }, link.sender());
  std::string got;
  const auto end = Clock::now() + seconds(1);
  while (got.size() < kTotal && Clock::now() < end) {
    if (poll_for(link.reader(), POLLIN, milliseconds(500)) == 0) break;
    tcp_zerocopy_receive request{};
    request.address = reinterpret_cast<std::uintptr_t>(window);
    request.length = kWindow;
    socklen_t size = sizeof request;
    if (::getsockopt(link.reader(), IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &request, &size) != 0) {
      scene.saw("TCP_ZEROCOPY_RECEIVE", outcome(-1));
      break;
    }
    got.append(static_cast<const char*>(window), request.length);
    if (request.length > 0) ::madvise(window, kWindow, MADV_DONTNEED);
    if (request.recv_skip_hint > 0) {
      std::string buffer(request.recv_skip_hint, '\0');
      const ssize_t n = ::recv(link.reader(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n > 0) got.append(buffer, 0, static_cast<std::size_t>(n));
    }
    if (request.length == 0 && request.recv_skip_hint == 0) ::poll(nullptr, 0, 1);
  }
  ::munmap(window, kWindow);
  scene.saw("got", got.size(), "right", yes(got == payload(0, got.size())));
  if (got.size() < kTotal) ::shutdown(link.reader(), SHUT_RDWR);
}

BEHAVIOUR("pages: TCP_ZEROCOPY_RECEIVE from the first byte") {
  Link link = scene.connect();
  receive_zerocopy(scene, link);
}

BEHAVIOUR("pages: TCP_ZEROCOPY_RECEIVE in mid-stream") {
  Link link = scene.connect_warm();
  receive_zerocopy(scene, link);
}

}  // namespace
}  // namespace underpass::test
