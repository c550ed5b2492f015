// SPDX-License-Identifier: Apache-2.0
// Packets with descriptors (SCM_RIGHTS) over a unix socket of type SOCK_SEQPACKET, for both ends of worker_protocol.h.
// Never blocks, whatever the socket's mode, and never raises SIGPIPE. Descriptors that are received have one owner and
// close-on-exec from the first moment; of a packet that is refused they are closed.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"
#include "underpass/worker_protocol.h"

namespace underpass {

struct Packet {
  std::string text;
  std::vector<UniqueFd> fds;
  bool fds_lost = false;  // the kernel dropped some (MSG_CTRUNC); only where the receiver asked for such packets

  // The other end has closed. No packet of the protocol is empty, so nothing else is.
  [[nodiscard]] bool is_end() const { return text.empty(); }
};

// What becomes of a packet whose descriptors did not all fit, because the receiver's limit was reached.
enum class LostFds { kRefuse, kKeepRest };

namespace packet_socket {

// Room for one control message of SCM_RIGHTS, aligned as the kernel wants it.
template <std::size_t fds>
struct Control {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(fds * sizeof(int))> bytes{};
};

struct Received {
  ssize_t bytes = -1;  // -1: errno says why
  int flags = 0;       // MSG_TRUNC, MSG_CTRUNC
  std::vector<UniqueFd> fds;
};

// At most so many descriptors; the kernel drops others (MSG_CTRUNC).
template <std::size_t most>
Received receive_with_fds(int fd, std::span<char> into, int flags) {
  iovec part{.iov_base = into.data(), .iov_len = into.size()};
  Control<most> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  Received out;
  do {
    out.bytes = ::recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
  } while (out.bytes < 0 && errno == EINTR);
  if (out.bytes < 0) return out;
  out.flags = message.msg_flags;
  for (auto* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int got = -1;
      std::memcpy(&got, CMSG_DATA(one) + i * sizeof(int), sizeof(int));
      out.fds.emplace_back(got);
    }
  }
  return out;
}

// The bytes that were sent, -1 with errno; the descriptors are beside the first. Of a stream it may be a part.
inline ssize_t send_with_fds(int fd, std::string_view text, std::span<const int> fds) {
  iovec part{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  Control<worker::kMaxDescriptors> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    auto* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

}  // namespace packet_socket

// False where the socket's buffer is full: nothing was sent then.
inline Result<bool> send_packet(int fd, std::string_view text, std::span<const int> fds = {}) {
  if (text.empty() || text.size() > worker::kMaxPacket)
    return fail("send a packet: " + std::to_string(text.size()) + " bytes: must be from 1 to " +
                std::to_string(worker::kMaxPacket));
  if (fds.size() > worker::kMaxDescriptors)
    return fail("send a packet: " + std::to_string(fds.size()) + " descriptors: at most " +
                std::to_string(worker::kMaxDescriptors));
  if (packet_socket::send_with_fds(fd, text, fds) >= 0) return true;
  if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
  return fail_errno("send a packet");
}

// Nothing where no packet waits; Packet::is_end() where none will come any more.
inline Result<std::optional<Packet>> receive_packet(int fd, LostFds lost = LostFds::kRefuse) {
  std::string text(worker::kMaxPacket, '\0');
  // One more than is allowed, so that too many are told from enough.
  auto got = packet_socket::receive_with_fds<worker::kMaxDescriptors + 1>(fd, text, MSG_DONTWAIT);
  if (got.bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  if (got.bytes < 0) return fail_errno("receive a packet");

  Packet packet;
  packet.fds = std::move(got.fds);
  if ((got.flags & MSG_TRUNC) != 0)
    return fail("receive a packet: longer than " + std::to_string(worker::kMaxPacket) + " bytes (MSG_TRUNC)");
  packet.fds_lost = (got.flags & MSG_CTRUNC) != 0;
  if (packet.fds_lost && lost == LostFds::kRefuse)
    return fail("receive a packet: the kernel dropped descriptors, " + std::to_string(packet.fds.size()) +
                " are left (MSG_CTRUNC): the limit of open files is reached");
  if (packet.fds.size() > worker::kMaxDescriptors)
    return fail("receive a packet: more than " + std::to_string(worker::kMaxDescriptors) + " descriptors");
  packet.text.assign(text, 0, static_cast<std::size_t>(got.bytes));
  return packet;
}

}  // namespace underpass
