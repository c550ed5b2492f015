// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin_ask.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "underpass/packet_socket.h"
#include "underpass/unique_fd.h"
#include "underpass/unix_address.h"

namespace underpass::cni {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPause{20};  // a unix socket does not say when there is room in its backlog again

class Deadline {
 public:
  explicit Deadline(Patience patience) : patience_(patience), timeout_(patience.to_take), start_(Clock::now()) {}

  void extend() { timeout_ = std::max(timeout_, patience_.to_answer); }

  [[nodiscard]] milliseconds left() const {
    return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(start_ + timeout_ - Clock::now()));
  }
  [[nodiscard]] Error missed() const {
    return {"no answer within " + std::to_string(timeout_.count()) + " ms: it hangs"};
  }

 private:
  Patience patience_;
  milliseconds timeout_;
  Clock::time_point start_;
};

// False at the deadline.
bool wait_for(int fd, short events, const Deadline& deadline) {
  for (;;) {
    pollfd waited{.fd = fd, .events = events, .revents = 0};
    const auto left = deadline.left();
    const int ready = ::poll(&waited, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready == 0 && deadline.left().count() == 0) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Result<UniqueFd> connect_to(const std::string& path, const Deadline& deadline) {
  const auto address = to_unix_address(path);
  if (!address) return std::unexpected(address.error());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("make a unix socket");
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    if (errno != EAGAIN && errno != EINTR) return fail_errno("connect");
    if (deadline.left().count() == 0) return std::unexpected(deadline.missed());
    ::poll(nullptr, 0, static_cast<int>(std::min(kPause, deadline.left()).count()));
  }
  return fd;
}

Result<void> send_question(int fd, const Request& request, int netns, const Deadline& deadline) {
  const auto fds = netns < 0 ? std::span<const int>() : std::span(&netns, 1);
  for (;;) {
    const auto sent = send_packet(fd, encode_request(request), fds);
    if (!sent) return std::unexpected(sent.error());
    if (*sent) return {};
    if (!wait_for(fd, POLLOUT, deadline)) return std::unexpected(deadline.missed());
  }
}

// Nothing where the connection ends.
Result<std::optional<Answer>> receive_answer(int fd, Deadline& deadline) {
  for (;;) {
    if (!wait_for(fd, POLLIN, deadline)) return std::unexpected(deadline.missed());
    auto packet = receive_packet(fd);
    // One that was turned away before it had asked is told of the reset first, and then of the cause.
    if (!packet) packet = receive_packet(fd);
    if (!packet) return std::unexpected(packet.error());
    if (!*packet) continue;
    if ((*packet)->is_end()) return std::nullopt;
    if ((*packet)->text != kTaken) return decode_answer((*packet)->text);
    deadline.extend();
  }
}

}  // namespace

Result<Answer> ask_agent(const std::string& socket, const Request& request, int netns, Patience patience) {
  Deadline deadline(patience);
  const auto ask = [&]() -> Result<std::optional<Answer>> {
    const auto fd = connect_to(socket, deadline);
    if (!fd) return std::unexpected(fd.error());
    const auto sent = send_question(fd->get(), request, netns, deadline);
    // One that was turned away before it had asked may be told why.
    const Deadline now({.to_take = milliseconds(0), .to_answer = milliseconds(0)});
    if (!sent && !wait_for(fd->get(), POLLIN, now)) return std::unexpected(sent.error());
    return receive_answer(fd->get(), deadline);
  };
  // An agent that hands its socket to another lets go of those who have asked: they ask that one. After one that has
  // died nobody listens.
  for (;;) {
    auto answer = ask();
    if (!answer) return fail_in(socket, answer.error());
    if (*answer) return std::move(**answer);
    if (deadline.left().count() == 0) return fail_in(socket, Error{"it closes the connection without an answer"});
    ::poll(nullptr, 0, static_cast<int>(std::min(kPause, deadline.left()).count()));
  }
}

}  // namespace underpass::cni
