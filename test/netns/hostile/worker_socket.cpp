// SPDX-License-Identifier: Apache-2.0
#include "test/netns/hostile/worker_socket.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "test/support/pod_net.h"
#include "underpass/abi.h"
#include "underpass/ip_address.h"

namespace underpass::test {
namespace {

constexpr int kPatienceMs = 5000;

int send_first(int fd, const Address& to, int flags) {
  return ::sendto(fd, "early", 5, flags | MSG_NOSIGNAL, to.get(), to.size) >= 0 ? 0 : errno;
}

int send_message(int fd, const Address& to) {
  char text[] = "early";
  iovec part{.iov_base = text, .iov_len = 5};
  Address copy = to;
  msghdr message{};
  message.msg_name = copy.get();
  message.msg_namelen = to.size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return ::sendmsg(fd, &message, MSG_FASTOPEN | MSG_NOSIGNAL) >= 0 ? 0 : errno;
}

int disconnect(int fd) {
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  return ::connect(fd, &nowhere, sizeof(nowhere)) == 0 ? 0 : errno;
}

int open_connection(int fd, const DialTry& what) {
  const Address to = Address::of(what.ip, what.port);
  if (what.how == "fastopen") return send_first(fd, to, MSG_FASTOPEN);
  if (what.how == "sendto") return send_first(fd, to, 0);
  if (what.how == "sendmsg") return send_message(fd, to);
  return ::connect(fd, to.get(), to.size) == 0 ? 0 : errno;
}

// What came of a connect() that was begun.
int wait_connected(int fd) {
  pollfd waiting{.fd = fd, .events = POLLOUT, .revents = 0};
  if (::poll(&waiting, 1, kPatienceMs) != 1) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

std::string error_name(int error) {
  if (error == 0) return "ok";
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

std::string outcome(bool done) { return error_name(done ? 0 : errno); }

std::string try_dial(int fd, const DialTry& what) {
  std::string said;
  if (what.how == "unspec") said += "disconnected=" + error_name(disconnect(fd)) + " ";
  if (what.carries) {
    const std::uint64_t id = *what.carries;
    said += "announced=" + outcome(::setsockopt(fd, SOL_IP, UP_SO_CARRIES, &id, sizeof(id)) == 0) + " ";
  }
  if (what.errand) {
    const std::uint32_t on = 1;
    said += "announced=" + outcome(::setsockopt(fd, SOL_IP, UP_SO_ERRAND, &on, sizeof(on)) == 0) + " ";
  }
  if (!what.client_ip.empty()) {
    up_tunnelled client{};
    client.client = IpAddress::parse(what.client_ip).value().to_abi();
    client.client_port = htons(what.client_port);
    said += "claimed=" + outcome(::setsockopt(fd, SOL_IP, UP_SO_CLIENT, &client, sizeof(client)) == 0) + " ";
  }
  int error = open_connection(fd, what);
  if (error == EINPROGRESS) {
    error = wait_connected(fd);
    if (error == 0 && what.how != "fastopen" && what.how != "sendmsg") (void)open_connection(fd, what);  // now it knows
  }
  return said + "connected=" + error_name(error);
}

}  // namespace underpass::test
