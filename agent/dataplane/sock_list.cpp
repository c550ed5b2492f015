// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/sock_list.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "agent/dataplane/netns.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

// The states up to TCP_CLOSING that have a name in <netinet/tcp.h>. Above them the kernel has TCP_NEW_SYN_RECV, a
// request: to end one says nothing to its client, who may think by then that it is connected.
constexpr __u32 kListed =
    ((1u << (TCP_CLOSING + 1)) - 1) & ~(1u << TCP_SYN_RECV | 1u << TCP_TIME_WAIT | 1u << TCP_CLOSE);

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

up_addr address_of(int family, const __be32* words) {
  up_addr out{};
  if (family == AF_INET6) {
    std::memcpy(out.bytes, words, sizeof(out.bytes));
    return out;
  }
  out.bytes[10] = out.bytes[11] = 0xff;
  std::memcpy(out.bytes + 12, words, 4);
  return out;
}

TcpSocket socket_of(const inet_diag_msg& message) {
  TcpSocket out{};
  const auto& id = message.id;
  out.local.addr = address_of(message.idiag_family, id.idiag_src);
  out.local.port = id.idiag_sport;
  out.local.cookie = id.idiag_cookie[0] | static_cast<std::uint64_t>(id.idiag_cookie[1]) << 32;
  out.local.state = static_cast<up_tcp_state>(message.idiag_state);
  out.remote.addr = address_of(message.idiag_family, id.idiag_dst);
  out.remote.port = id.idiag_dport;
  return out;
}

// One datagram of the answer; false: it was the last.
Result<bool> take(const std::vector<char>& buffer, std::size_t size, std::vector<TcpSocket>& out) {
  auto left = static_cast<unsigned>(size);
  for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
       header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type == NLMSG_DONE) return false;
    if (header->nlmsg_type == NLMSG_ERROR) {
      nlmsgerr answer{};
      std::memcpy(&answer, NLMSG_DATA(header), sizeof(answer));
      return fail_errno("sock_diag", -answer.error);
    }
    inet_diag_msg message{};
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(message))) continue;
    std::memcpy(&message, NLMSG_DATA(header), sizeof(message));
    out.push_back(socket_of(message));
  }
  return true;
}

Result<void> list_family(int netlink, int family, std::vector<TcpSocket>& out) {
  constexpr std::size_t kBuffer = 64 * 1024;
  Request request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = static_cast<__u8>(family);
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = kListed;
  if (::send(netlink, &request, sizeof(request), 0) < 0) return fail_errno("sock_diag");
  std::vector<char> buffer(kBuffer);
  for (;;) {
    const ssize_t size = ::recv(netlink, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return fail_errno("sock_diag");
    const auto more = take(buffer, static_cast<std::size_t>(size), out);
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
  }
}

}  // namespace

Result<std::vector<TcpSocket>> list_tcp_sockets(int netns_fd) {
  std::vector<TcpSocket> out;
  const auto done = run_in_netns(netns_fd, [&out]() -> Result<void> {
    const UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink) return fail_errno("socket NETLINK_SOCK_DIAG");
    for (const int family : {AF_INET, AF_INET6})
      if (auto listed = list_family(netlink.get(), family, out); !listed) return listed;
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return out;
}

}  // namespace underpass::dataplane
