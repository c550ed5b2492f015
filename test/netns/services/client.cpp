// SPDX-License-Identifier: Apache-2.0
#include "test/netns/services/client.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "test/support/sockets.h"

namespace underpass::test {
namespace {

std::string peer_of(int fd) {
  Address address;
  address.size = sizeof address.storage;
  if (::getpeername(fd, address.get(), &address.size) != 0) return std::string("? ") + std::strerror(errno);
  return address.to_string();
}

int connect_before(int fd, const Address& to, milliseconds deadline) {
  set_nonblocking(fd, true);
  if (::connect(fd, to.get(), to.size) != 0) {
    if (errno != EINPROGRESS) return errno;
    pollfd wait{fd, POLLOUT, 0};
    if (::poll(&wait, 1, static_cast<int>(deadline.count())) != 1) return ETIMEDOUT;
  }
  set_nonblocking(fd, false);
  return get_option(fd, SOL_SOCKET, SO_ERROR);
}

// The line that a backend begins with.
void read_name(int fd, milliseconds deadline, Answer& answer) {
  const auto end = Clock::now() + deadline;
  while (!answer.backend.ends_with('\n')) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    char byte = 0;
    if (left.count() <= 0 || !readable(fd, left)) {
      answer.error = ETIMEDOUT;
      return;
    }
    const ssize_t n = ::recv(fd, &byte, 1, 0);
    if (n <= 0) {
      answer.error = n == 0 ? EPIPE : errno;
      return;
    }
    answer.backend += byte;
  }
  answer.backend.pop_back();
}

// One datagram with its source.
void receive(int fd, milliseconds deadline, Answer& answer) {
  if (!readable(fd, deadline)) {
    answer.error = ETIMEDOUT;
    return;
  }
  std::array<char, 512> bytes;
  iovec part{bytes.data(), bytes.size()};
  Address from;
  msghdr message{};
  message.msg_name = from.get();
  message.msg_namelen = sizeof from.storage;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t n = ::recvmsg(fd, &message, MSG_DONTWAIT);
  if (n < 0) {
    answer.error = errno;
    return;
  }
  from.size = message.msg_namelen;
  answer.backend.assign(bytes.data(), static_cast<std::size_t>(n));
  answer.peer = from.to_string();
}

}  // namespace

std::string Answer::to_string() const { return error != 0 ? std::strerror(error) : backend + " as " + peer; }

Connection open_tcp(const Place& from, const Address& to, milliseconds deadline) {
  Connection connection{.fd = socket_in(from.netns, to.family(), SOCK_STREAM), .answer = {}};
  Answer& answer = connection.answer;
  answer.error = connect_before(connection.fd.get(), to, deadline);
  if (answer.error != 0) return connection;
  answer.peer = peer_of(connection.fd.get());
  read_name(connection.fd.get(), deadline, answer);
  return connection;
}

Answer ask_tcp(const Place& from, const Address& to, milliseconds deadline) {
  return open_tcp(from, to, deadline).answer;
}

UniqueFd udp_socket(const Place& from, int family) { return socket_in(from.netns, family, SOCK_DGRAM); }

int connect_udp(const UniqueFd& fd, const Address& to) {
  return ::connect(fd.get(), to.get(), to.size) == 0 ? 0 : errno;
}

Answer ask_connected(const UniqueFd& fd, milliseconds deadline) {
  Answer answer;
  if (::send(fd.get(), "?", 1, MSG_NOSIGNAL) < 0) {
    answer.error = errno;
    return answer;
  }
  receive(fd.get(), deadline, answer);
  if (answer.error != 0) return answer;
  const std::string source = answer.peer;
  answer.peer = peer_of(fd.get());
  if (source != answer.peer) answer.peer += ", but the answer is from " + source;
  return answer;
}

Answer ask_udp(const UniqueFd& fd, const Address& to, milliseconds deadline) {
  Answer answer;
  if (::sendto(fd.get(), "?", 1, MSG_NOSIGNAL, to.get(), to.size) < 0)
    answer.error = errno;
  else
    receive(fd.get(), deadline, answer);
  return answer;
}

std::set<std::string> who_answers(const Place& from, const Address& to, int count) {
  std::set<std::string> names;
  for (int i = 0; i < count; ++i) {
    const Answer answer = ask_tcp(from, to);
    names.insert(answer.error != 0 ? std::strerror(answer.error) : answer.backend);
  }
  return names;
}

}  // namespace underpass::test
