// SPDX-License-Identifier: Apache-2.0
// Connections that begin in a special way, options that steer TCP, and sockets that are not quite TCP's.
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>

#include "test/semantics/observe.h"
#include "test/semantics/row.h"
#include "test/support/files.h"
#include "test/support/netns.h"
#include "test/support/tasks.h"

namespace underpass::test {
namespace {

// What every connection must be able to do, however it began.
void carry(Scene& scene, const Link& link) {
  scene.saw(transfer(link.sender(), link.reader(), 300000, 3000));
  scene.saw(transfer(link.reader(), link.sender(), 300000, 3000));
}

BEHAVIOUR("establishing: TCP_DEFER_ACCEPT") {
  const Stage& stage = scene.stage();
  const UniqueFd listener =
      listen_at(stage.server, stage.family, [](int fd) { set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5); });
  UniqueFd client = connect_from(stage.client, local_address(listener.get()));
  scene.saw("nobody to accept before the first byte", poll_names(poll_for(listener.get(), POLLIN, kMoment)));
  say(client.get(), "first");
  say(client.get(), " words");
  UniqueFd server = accept_from(listener.get());
  Link link = scene.adopt(std::move(client), std::move(server));
  await_bytes(link.server.get(), 11);
  scene.saw("recv", receive(link.server.get(), 20, MSG_DONTWAIT));
  scene.warm_up(link);
  carry(scene, link);
}

BEHAVIOUR("establishing: bytes that come before accept") {
  const Stage& stage = scene.stage();
  const UniqueFd listener = listen_at(stage.server, stage.family);
  UniqueFd client = connect_from(stage.client, local_address(listener.get()));
  for (std::uint64_t i = 0; i < 20; ++i) say(client.get(), payload(i * 1000, 1000));
  UniqueFd server = accept_from(listener.get());
  Link link = scene.adopt(std::move(client), std::move(server));
  scene.saw(read_payload(link.server.get(), 20000));
  scene.warm_up(link);
  carry(scene, link);
}

BEHAVIOUR("establishing: TCP Fast Open") {
  const Stage& stage = scene.stage();
  // Client, server, client without a cookie, server without a cookie, all listeners.
  for (const Place& place : {stage.client, stage.server}) set_sysctl(place.netns, "net.ipv4.tcp_fastopen", "1543");
  const UniqueFd listener = listen_at(stage.server, stage.family);
  UniqueFd client = socket_in(stage.client.netns, stage.family, SOCK_STREAM);
  const Address to = local_address(listener.get());
  scene.saw("sendto",
            outcome(::sendto(client.get(), "first words", 11, MSG_FASTOPEN | MSG_NOSIGNAL, to.get(), to.size)));
  UniqueFd server = accept_from(listener.get());
  Link link = scene.adopt(std::move(client), std::move(server));
  scene.saw("recv", receive_next(link.server.get(), 20));
  tcp_info info{};
  socklen_t size = sizeof info;
  ::getsockopt(link.client.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
  scene.saw("the bytes rode on the SYN", yes((info.tcpi_options & TCPI_OPT_SYN_DATA) != 0));
  scene.warm_up(link);
  carry(scene, link);
}

BEHAVIOUR("establishing: a non-blocking connect") {
  const Stage& stage = scene.stage();
  const UniqueFd listener = listen_at(stage.server, stage.family);
  UniqueFd client = socket_in(stage.client.netns, stage.family, SOCK_STREAM);
  set_nonblocking(client.get(), true);
  const Address to = local_address(listener.get());
  scene.saw("connect", outcome(::connect(client.get(), to.get(), to.size)));
  scene.saw("poll", await_events(client.get(), POLLOUT), "SO_ERROR", get_option(client.get(), SOL_SOCKET, SO_ERROR));
  UniqueFd server = accept_from(listener.get());
  Link link = scene.adopt(std::move(client), std::move(server));
  scene.warm_up(link);
  carry(scene, link);
}

BEHAVIOUR("establishing: nobody listens") {
  const Stage& stage = scene.stage();
  Address to;
  {
    const UniqueFd listener = listen_at(stage.server, stage.family);
    to = local_address(listener.get());
  }
  UniqueFd client = socket_in(stage.client.netns, stage.family, SOCK_STREAM);
  scene.saw("connect", outcome(::connect(client.get(), to.get(), to.size)));
  const UniqueFd listener = listen_at(stage.server, stage.family, {}, to.port());
  scene.saw("and again", outcome(::connect(client.get(), to.get(), to.size)));
  Link link = scene.adopt(std::move(client), accept_from(listener.get()));
  scene.warm_up(link);
  carry(scene, link);
}

BEHAVIOUR("options: TCP_NODELAY and TCP_QUICKACK") {
  Link link = scene.connect_warm([](int fd) { set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); });
  set_option(link.reader(), IPPROTO_TCP, TCP_QUICKACK, 1);
  set_option(link.reader(), IPPROTO_TCP, TCP_NODELAY, 1);
  carry(scene, link);
  scene.saw("TCP_NODELAY", get_option(link.sender(), IPPROTO_TCP, TCP_NODELAY));
}

// Corked bytes may be held back, for 200 ms at the most; that they arrive, and all of them, is what is promised.
BEHAVIOUR("options: TCP_CORK and MSG_MORE") {
  Link link = scene.connect_warm();
  for (int i = 0; i < 3; ++i) {
    set_option(link.sender(), IPPROTO_TCP, TCP_CORK, 1);
    say(link.sender(), "one, ");
    say(link.sender(), "two, ");
    set_option(link.sender(), IPPROTO_TCP, TCP_CORK, 0);
    await_bytes(link.reader(), 10);
    scene.saw("uncorked", receive(link.reader(), 20, MSG_DONTWAIT));
    scene.saw("MSG_MORE", outcome(::send(link.sender(), "three, ", 7, MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL)));
    say(link.sender(), "four");
    await_bytes(link.reader(), 11);
    scene.saw("complete", receive(link.reader(), 20, MSG_DONTWAIT));
  }
  set_option(link.sender(), IPPROTO_TCP, TCP_CORK, 1);
  say(link.sender(), "corked at the end");
  scene.saw("after 200 ms at the latest", receive_next(link.reader(), 20));
}

BEHAVIOUR("options: keepalive") {
  Link link = scene.connect_warm();
  for (const int fd : {link.sender(), link.reader()}) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 1);
  }
  carry(scene, link);
  const auto segments = [&] {
    tcp_info info{};
    socklen_t size = sizeof info;
    ::getsockopt(link.sender(), IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_segs_out;
  };
  const auto before = segments();
  scene.saw("an idle peer is asked", yes(eventually(kPatience, [&] { return segments() > before; })));
  scene.saw("and is there", poll_names(poll_for(link.sender(), POLLIN | POLLRDHUP, kMoment)));
  carry(scene, link);
}

BEHAVIOUR("options: TCP_USER_TIMEOUT") {
  Link link = scene.connect_warm();
  set_option(link.sender(), IPPROTO_TCP, TCP_USER_TIMEOUT, 300);
  carry(scene, link);
  say(link.sender(), "unread for longer than that");
  scene.saw("poll", poll_names(poll_for(link.sender(), POLLIN, milliseconds(400))));
  scene.saw("read", receive_next(link.reader(), 40));
  carry(scene, link);
}

BEHAVIOUR("options: TCP_USER_TIMEOUT and a reader that stalls") {
  Link link = scene.connect_warm();
  set_option(link.sender(), IPPROTO_TCP, TCP_USER_TIMEOUT, 300);
  (void)fill(link.sender(), 65536);
  scene.saw("given up", await_events(link.sender(), POLLERR, seconds(10)));
  scene.saw("recv", receive(link.sender(), 10, MSG_DONTWAIT));
}

BEHAVIOUR("options: a small SO_SNDBUF") {
  Link link = scene.connect_warm([](int fd) { set_option(fd, SOL_SOCKET, SO_SNDBUF, 10000); });
  carry(scene, link);
}

BEHAVIOUR("options: a small SO_RCVBUF") {
  Link link = scene.connect({}, [](int fd) { set_option(fd, SOL_SOCKET, SO_RCVBUF, 10000); });
  scene.warm_up(link);
  scene.saw("the sender is stopped", yes(fill(link.sender(), 1000) < (8u << 20)));
}

BEHAVIOUR("options: SO_ATTACH_FILTER") {
  const auto accept_all = [](int fd) {
    sock_filter code = BPF_STMT(BPF_RET | BPF_K, 0xffffffff);
    const sock_fprog program{.len = 1, .filter = &code};
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) throw_errno("filter");
  };
  Link link = scene.connect({}, accept_all);
  scene.warm_up(link);
  carry(scene, link);
}

void sign(int fd, const Address& peer) {
  tcp_md5sig key{};
  std::memcpy(&key.tcpm_addr, &peer.storage, sizeof key.tcpm_addr);
  key.tcpm_keylen = 6;
  std::memcpy(key.tcpm_key, "secret", 6);
  if (::setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof key) != 0) throw Skip("no TCP_MD5SIG: " + outcome(-1));
}

BEHAVIOUR("other kinds: TCP_MD5SIG") {
  const Stage& stage = scene.stage();
  const UniqueFd listener =
      listen_at(stage.server, stage.family, [&](int fd) { sign(fd, Address::of(stage.client.ip(stage.family), 0)); });
  const Address to = local_address(listener.get());
  UniqueFd client = connect_from(stage.client, to, [&](int fd) { sign(fd, to); });
  Link link = scene.adopt(std::move(client), accept_from(listener.get()));
  scene.warm_up(link);
  carry(scene, link);
}

void talk_mptcp(Scene& scene, int client_protocol) {
  const Stage& stage = scene.stage();
  const UniqueFd listener = socket_in(stage.server.netns, stage.family, SOCK_STREAM, IPPROTO_MPTCP);
  const Address any = Address::of(stage.server.ip(stage.family), 0);
  if (::bind(listener.get(), any.get(), any.size) != 0) throw_errno("bind");
  if (::listen(listener.get(), 8) != 0) throw_errno("listen");
  const Address to = local_address(listener.get());
  UniqueFd client = socket_in(stage.client.netns, stage.family, SOCK_STREAM, client_protocol);
  if (::connect(client.get(), to.get(), to.size) != 0) throw_errno("connect");
  Link link = scene.adopt(std::move(client), accept_from(listener.get()));
  scene.warm_up(link);
  carry(scene, link);
}

BEHAVIOUR("other kinds: MPTCP") { talk_mptcp(scene, IPPROTO_MPTCP); }

BEHAVIOUR("other kinds: an MPTCP listener and a TCP client") { talk_mptcp(scene, IPPROTO_TCP); }

int use_tls(int fd) { return ::setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls"); }

BEHAVIOUR("other kinds: TCP_ULP") {
  Link link = scene.connect_warm();
  if (use_tls(link.sender()) != 0 && errno == ENOENT) throw Skip("this kernel has no kTLS (CONFIG_TLS)");
  scene.saw("TCP_ULP", outcome(use_tls(link.reader())), "again", outcome(use_tls(link.reader())));
  carry(scene, link);
}

BEHAVIOUR("other kinds: a TCP_ULP that is not there") {
  Link link = scene.connect_warm();
  scene.saw("TCP_ULP", outcome(::setsockopt(link.sender(), IPPROTO_TCP, TCP_ULP, "nonesuch", 9)));
  carry(scene, link);
}

}  // namespace
}  // namespace underpass::test
