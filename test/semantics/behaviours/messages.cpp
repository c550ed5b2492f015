// SPDX-License-Identifier: Apache-2.0
// Many messages in a call, what comes with a message (ancillary data), and the counters of TCP_INFO.
#include <ctime>  // before errqueue.h, which needs it

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstring>
#include <vector>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"

namespace underpass::test {
namespace {

BEHAVIOUR("messages: sendmmsg and recvmmsg") {
  Link link = scene.connect_warm();
  std::array<std::string, 4> texts{"one", "two", "three", "four"};
  std::array<iovec, 4> parts{};
  std::array<mmsghdr, 4> out{};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    parts[i] = {texts[i].data(), texts[i].size()};
    out[i].msg_hdr.msg_iov = &parts[i];
    out[i].msg_hdr.msg_iovlen = 1;
  }
  scene.saw("sendmmsg", outcome(::sendmmsg(link.sender(), out.data(), 4, MSG_DONTWAIT | MSG_NOSIGNAL)));
  for (const mmsghdr& one : out) scene.saw("of it", one.msg_len);
  await_bytes(link.reader(), 15);
  std::array<std::string, 4> buffers;
  std::array<mmsghdr, 4> in{};
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    buffers[i].resize(6);
    parts[i] = {buffers[i].data(), buffers[i].size()};
    in[i].msg_hdr.msg_iov = &parts[i];
    in[i].msg_hdr.msg_iovlen = 1;
  }
  const int n = ::recvmmsg(link.reader(), in.data(), 4, MSG_DONTWAIT, nullptr);
  scene.saw("recvmmsg", outcome(n));
  for (int i = 0; i < n; ++i)
    scene.saw(quote(buffers[static_cast<std::size_t>(i)].substr(0, in[static_cast<std::size_t>(i)].msg_len)));
  scene.saw("recvmmsg of nothing", outcome(::recvmmsg(link.reader(), in.data(), 4, MSG_DONTWAIT, nullptr)));
}

BEHAVIOUR("messages: sendmsg and recvmsg with many parts") {
  Link link = scene.connect_warm();
  std::string bytes = payload(0, 3000);
  std::vector<iovec> parts;
  for (std::size_t i = 0; i < bytes.size(); i += 10) parts.push_back({bytes.data() + i, 10});
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  scene.saw("sendmsg", outcome(::sendmsg(link.sender(), &message, MSG_DONTWAIT | MSG_NOSIGNAL)));
  await_bytes(link.reader(), 3000);
  std::string got(3000, '\0');
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = {got.data() + i * 10, 10};
  scene.saw("recvmsg", outcome(::recvmsg(link.reader(), &message, MSG_DONTWAIT)), yes(got == bytes));
  scene.saw("flags", message.msg_flags, "name", message.msg_namelen);
}

// Receives with room for ancillary data; says what kinds came.
std::string receive_kinds(int fd, std::size_t size) {
  std::string buffer(size, '\0');
  alignas(cmsghdr) std::array<char, 512> control{};
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (poll_for(fd, POLLIN, kPatience) == 0) return "nothing";
  const ssize_t n = ::recvmsg(fd, &message, MSG_DONTWAIT);
  std::string text = n > 0 ? quote(std::string_view(buffer).substr(0, static_cast<std::size_t>(n))) : outcome(n);
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    text += " with " + std::to_string(one->cmsg_level) + "/" + std::to_string(one->cmsg_type);
    if (one->cmsg_level == IPPROTO_TCP && one->cmsg_type == TCP_CM_INQ) {
      int unread = 0;
      std::memcpy(&unread, CMSG_DATA(one), sizeof unread);
      text += " = " + std::to_string(unread);
    }
  }
  return text;
}

void timestamps(Scene& scene, Link& link) {
  for (int i = 0; i < 5; ++i) {
    say(link.sender(), "hello");
    scene.saw(receive_kinds(link.reader(), 10));
  }
}

BEHAVIOUR("messages: no ancillary data where none was asked for") {
  Link link = scene.connect_warm();
  timestamps(scene, link);
}

// The kernel switches time-stamping on a little later than the option says, when no other socket has asked for it.
void await_timestamps(const Link& link) {
  for (int i = 0; i < 200; ++i) {
    say(link.sender(), "prelude");
    if (receive_kinds(link.reader(), 10).find(" with ") != std::string::npos) return;
    ::poll(nullptr, 0, 1);
  }
}

BEHAVIOUR("messages: SO_TIMESTAMPNS from the beginning") {
  Link link = scene.connect({}, [](int fd) { set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1); });
  scene.warm_up(link);
  await_timestamps(link);
  timestamps(scene, link);
}

BEHAVIOUR("messages: SO_TIMESTAMPNS in mid-stream") {
  Link link = scene.connect_warm();
  set_option(link.reader(), SOL_SOCKET, SO_TIMESTAMPNS, 1);
  await_timestamps(link);
  timestamps(scene, link);
}

BEHAVIOUR("messages: SO_TIMESTAMPING of what is sent") {
  Link link = scene.connect([](int fd) {
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPING,
               SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
  });
  say(link.sender(), "hello");
  scene.saw(receive_next(link.reader(), 10));
  std::array<char, 512> control{};
  msghdr message{};
  const bool reported = eventually(seconds(2), [&] {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    return ::recvmsg(link.sender(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0;
  });
  scene.saw("the acknowledgement is reported", yes(reported));
}

BEHAVIOUR("messages: TCP_INQ") {
  Link link = scene.connect({}, [](int fd) { set_option(fd, IPPROTO_TCP, TCP_INQ, 1); });
  scene.warm_up(link);
  for (int i = 0; i < 3; ++i) {
    say(link.sender(), "hello, world");
    await_bytes(link.reader(), 12);
    scene.saw(receive_kinds(link.reader(), 5));
    scene.saw(receive_kinds(link.reader(), 50));
  }
}

BEHAVIOUR("messages: TCP_INQ in mid-stream") {
  Link link = scene.connect_warm();
  set_option(link.reader(), IPPROTO_TCP, TCP_INQ, 1);
  for (int i = 0; i < 3; ++i) {
    say(link.sender(), "hello, world");
    await_bytes(link.reader(), 12);
    scene.saw(receive_kinds(link.reader(), 5));
    scene.saw(receive_kinds(link.reader(), 50));
  }
}

BEHAVIOUR("messages: MSG_ERRQUEUE of nothing") {
  Link link = scene.connect_warm();
  scene.saw("recv", receive(link.reader(), 10, MSG_ERRQUEUE | MSG_DONTWAIT));
  say(link.sender(), "hello");
  await_bytes(link.reader(), 5);
  scene.saw("recv", receive(link.reader(), 10, MSG_ERRQUEUE | MSG_DONTWAIT));
  scene.saw("recv", receive(link.reader(), 10, MSG_DONTWAIT));
}

tcp_info info_of(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
  return info;
}

BEHAVIOUR("messages: TCP_INFO, byte counters") {
  Link link = scene.connect_warm();
  const std::uint64_t received = info_of(link.reader()).tcpi_bytes_received;
  const std::uint64_t sent = info_of(link.sender()).tcpi_bytes_sent;
  scene.saw(transfer(link.sender(), link.reader(), 200000, 10000));
  scene.saw("tcpi_bytes_received", info_of(link.reader()).tcpi_bytes_received - received);
  scene.saw("tcpi_bytes_sent", info_of(link.sender()).tcpi_bytes_sent - sent);
  (void)eventually(kMoment, [&] { return info_of(link.sender()).tcpi_unacked == 0; });
  scene.saw("tcpi_bytes_acked", info_of(link.sender()).tcpi_bytes_acked);
}

BEHAVIOUR("messages: TCP_INFO, state and queues") {
  Link link = scene.connect_warm();
  scene.saw(transfer(link.sender(), link.reader(), 200000, 10000));
  (void)eventually(
      kPatience, [&] { return info_of(link.sender()).tcpi_unacked == 0 && info_of(link.reader()).tcpi_unacked == 0; });
  for (const int fd : {link.sender(), link.reader()}) {
    const tcp_info info = info_of(fd);
    scene.saw("state", int{info.tcpi_state}, "unacked", info.tcpi_unacked, "not sent", info.tcpi_notsent_bytes,
              "retransmits", int{info.tcpi_retransmits}, "lost", info.tcpi_lost);
  }
  ::shutdown(link.sender(), SHUT_WR);
  (void)receive_next(link.reader(), 1);
  scene.saw("state", int{info_of(link.reader()).tcpi_state});
}

BEHAVIOUR("messages: getsockname, getpeername, SO_ERROR") {
  Link link = scene.connect_warm();
  Address peer;
  peer.size = sizeof peer.storage;
  scene.saw("getpeername", outcome(::getpeername(link.client.get(), peer.get(), &peer.size)), "is the server's name",
            yes(peer.to_string() == local_address(link.server.get()).to_string()));
  scene.saw("SO_ERROR", get_option(link.sender(), SOL_SOCKET, SO_ERROR), "SO_TYPE",
            get_option(link.sender(), SOL_SOCKET, SO_TYPE), "SO_PROTOCOL",
            get_option(link.sender(), SOL_SOCKET, SO_PROTOCOL));
  say(link.sender(), "hello");
  scene.saw("read", receive_next(link.reader(), 10));
}

}  // namespace
}  // namespace underpass::test
