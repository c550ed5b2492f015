// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/sock_destroy.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "agent/dataplane/netns.h"
#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

struct Ends {
  up_addr local, remote;
  __be16 local_port, remote_port;
  SocketCookie cookie;
};

Request make_request(const Ends& ends, int protocol, int family) {
  Request request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DESTROY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.body.sdiag_family = static_cast<__u8>(family);
  request.body.sdiag_protocol = static_cast<__u8>(protocol);
  request.body.idiag_states = ~0u;
  request.body.id.idiag_sport = ends.local_port;
  request.body.id.idiag_dport = ends.remote_port;
  const int offset = family == AF_INET ? 12 : 0;  // v4-mapped: the IPv4 address is the tail
  std::memcpy(request.body.id.idiag_src, ends.local.bytes + offset, static_cast<size_t>(16 - offset));
  std::memcpy(request.body.id.idiag_dst, ends.remote.bytes + offset, static_cast<size_t>(16 - offset));
  request.body.id.idiag_cookie[0] = static_cast<__u32>(ends.cookie);
  request.body.id.idiag_cookie[1] = static_cast<__u32>(ends.cookie >> 32);
  return request;
}

// 0, or the error the kernel answered.
Result<int> exchange(int netlink, const Request& request) {
  if (::send(netlink, &request, sizeof(request), 0) < 0) return fail_errno("send SOCK_DESTROY");
  std::array<char, 1024> buffer{};
  const ssize_t size = ::recv(netlink, buffer.data(), buffer.size(), 0);
  if (size < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr)))
    return fail_errno("receive SOCK_DESTROY answer");
  nlmsgerr answer{};
  std::memcpy(&answer, buffer.data() + sizeof(nlmsghdr), sizeof(answer));
  return -answer.error;
}

Result<void> destroy(int netns_fd, const Ends& ends, int protocol) {
  return run_in_netns(netns_fd, [&]() -> Result<void> {
    UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink) return fail_errno("socket NETLINK_SOCK_DIAG");
    int last = 0;
    // An IPv4 connection may belong to an IPv6 socket; sock_diag finds it by its own family.
    for (int family : {IpAddress(ends.remote).is_v4() ? AF_INET : AF_INET6, AF_INET6}) {
      auto error = exchange(netlink.get(), make_request(ends, protocol, family));
      if (!error) return std::unexpected(error.error());
      if (*error == 0) return {};
      last = *error;
    }
    if (last == ENOENT || last == ESTALE) return {};
    return fail_errno("SOCK_DESTROY", last);
  });
}

}  // namespace

Result<void> destroy_socket(int netns_fd, const up_end& local, const up_end& remote) {
  return destroy(netns_fd, {local.addr, remote.addr, local.port, remote.port, local.cookie}, IPPROTO_TCP);
}

Result<void> destroy_socket(int netns_fd, const up_udp_socket& socket) {
  return destroy(netns_fd, {socket.local, socket.backend, socket.local_port, socket.backend_port, socket.cookie},
                 IPPROTO_UDP);
}

}  // namespace underpass::dataplane
