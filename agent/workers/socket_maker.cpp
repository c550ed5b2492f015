// SPDX-License-Identifier: Apache-2.0
#include "agent/workers/socket_maker.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <sstream>

#include "underpass/abi.h"
#include "underpass/packet_socket.h"

namespace underpass::workers {
namespace {

constexpr int kDeadlineMs = 5000;
constexpr int kBacklog = 4096;

Result<void> wait_readable(int fd, int deadline_ms) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  for (;;) {
    const int ready = ::poll(&waiting, 1, deadline_ms);
    if (ready > 0) return {};
    if (ready == 0) return fail("no answer after " + std::to_string(deadline_ms / 1000) + " s");
    if (errno != EINTR) return fail_errno("poll");
  }
}

// --- in the process of its own ---

Result<void> set(int fd, int level, int option, int value) {
  if (::setsockopt(fd, level, option, &value, sizeof(value)) != 0) return fail_errno("setsockopt");
  return {};
}

// To dial with. Its keepalive is set as it dials, by up_dial4 and up_dial6.
Result<UniqueFd> tcp_socket(bool v6) {
  UniqueFd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return fail_errno("socket");
  if (auto done = set(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1); !done) return std::unexpected(done.error());
  // A worker that is killed leaves connections that are cut short. To their ends that is no orderly end.
  const linger reset{.l_onoff = 1, .l_linger = 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0) return fail_errno("SO_LINGER");
  if (v6)
    if (auto done = set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1); !done) return std::unexpected(done.error());
  return fd;
}

bool bind_loopback(int fd, bool v6, std::uint16_t port) {
  sockaddr_in v4_address{
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  sockaddr_in6 v6_address{};
  v6_address.sin6_family = AF_INET6;
  v6_address.sin6_port = htons(port);
  v6_address.sin6_addr = in6addr_loopback;
  return v6 ? ::bind(fd, reinterpret_cast<const sockaddr*>(&v6_address), sizeof(v6_address)) == 0
            : ::bind(fd, reinterpret_cast<const sockaddr*>(&v4_address), sizeof(v4_address)) == 0;
}

Result<std::uint16_t> port_of(int fd) {
  sockaddr_in6 address{};  // the port is at the same place in both families
  socklen_t size = sizeof(address);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return fail_errno("getsockname");
  return ntohs(address.sin6_port);
}

Result<UniqueFd> listening_socket(bool v6, std::uint16_t port) {
  struct Option {
    int level, name, value;
  };
  // What is accepted here has these too, and the address of the pod's own server, which must not keep it from binding
  // that again.
  static constexpr std::array kOptions{Option{SOL_SOCKET, SO_REUSEADDR, 1}, Option{SOL_SOCKET, SO_KEEPALIVE, 1},
                                       Option{IPPROTO_TCP, TCP_KEEPIDLE, UP_KEEP_IDLE_S},
                                       Option{IPPROTO_TCP, TCP_KEEPINTVL, UP_KEEP_INTERVAL_S},
                                       Option{IPPROTO_TCP, TCP_KEEPCNT, UP_KEEP_PROBES}};
  auto fd = tcp_socket(v6);
  if (!fd) return fd;
  for (const auto& option : kOptions)
    if (auto done = set(fd->get(), option.level, option.name, option.value); !done)
      return std::unexpected(done.error());
  if (!bind_loopback(fd->get(), v6, port) && (errno != EADDRINUSE || !bind_loopback(fd->get(), v6, 0)))
    return fail_errno(std::string("bind ") + (v6 ? "[::1]" : "127.0.0.1") + ":" + std::to_string(port));
  if (::listen(fd->get(), kBacklog) != 0) return fail_errno("listen");
  return fd;
}

// "listen 4 15001" or "dial 6 64"; the answer's first word is "ok" or "error".
std::string make(const std::string& question, std::vector<UniqueFd>& out) {
  std::istringstream words(question);
  std::string kind;
  int family = 0;
  std::size_t number = 0;
  words >> kind >> family >> number;
  const bool v6 = family == 6;
  if (kind == "listen") {
    auto fd = listening_socket(v6, static_cast<std::uint16_t>(number));
    if (!fd) return "error " + fd.error().message;
    const auto port = port_of(fd->get());
    if (!port) return "error " + port.error().message;
    out.push_back(std::move(*fd));
    return "ok " + std::to_string(*port);
  }
  while (out.size() < number) {
    auto fd = tcp_socket(v6);
    if (!fd) return out.empty() ? "error " + fd.error().message : "ok";
    out.push_back(std::move(*fd));
  }
  return "ok";
}

std::string answer(const Packet& packet, std::vector<UniqueFd>& out) {
  if (packet.fds.empty()) return "error no network namespace";
  if (::setns(packet.fds.front().get(), CLONE_NEWNET) != 0) return "error " + fail_errno("setns").error().message;
  return make(packet.text, out);
}

[[noreturn]] void serve(int fd) {
  const UniqueFd home(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home) ::_exit(1);
  for (;;) {
    if (!wait_readable(fd, -1)) ::_exit(1);
    auto packet = receive_packet(fd);
    if (!packet || (*packet && (*packet)->is_end())) ::_exit(0);
    if (!*packet) continue;
    std::vector<UniqueFd> made;
    const std::string text = answer(**packet, made);
    // A pod that is deleted would live on where we are.
    if (::setns(home.get(), CLONE_NEWNET) != 0) ::_exit(1);
    packet->reset();
    std::vector<int> fds;
    fds.reserve(made.size());
    for (const auto& socket : made) fds.push_back(socket.get());
    if (const auto sent = send_packet(fd, text, fds); !sent || !*sent) ::_exit(1);
  }
}

[[noreturn]] void become_maker(int cgroup_procs, int socket) {
  constexpr int kSocket = 3;
  ::prctl(PR_SET_NAME, "up-sockets");
  ::signal(SIGINT, SIG_IGN);  // the agent says when it is over, by closing its end
  ::signal(SIGTERM, SIG_IGN);
  if (::write(cgroup_procs, "0", 1) != 1) ::_exit(2);
  if (socket != kSocket && ::dup2(socket, kSocket) != kSocket) ::_exit(1);
  ::syscall(SYS_close_range, kSocket + 1, ~0u, 0);
  serve(kSocket);
}

}  // namespace

SocketMaker::~SocketMaker() { stop(); }

void SocketMaker::stop() {
  socket_.reset();
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<void> SocketMaker::start() {
  stop();
  const std::string procs = cgroup_ + "/cgroup.procs";
  const UniqueFd cgroup(::open(procs.c_str(), O_WRONLY | O_CLOEXEC));
  if (!cgroup) return fail_errno("open " + procs);
  int fds[2] = {};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return fail_errno("socketpair");
  socket_.reset(fds[0]);
  const UniqueFd other(fds[1]);
  pid_ = ::fork();
  if (pid_ < 0) return fail_errno("fork");
  if (pid_ == 0) become_maker(cgroup.get(), other.get());
  return {};
}

Result<SocketMaker::Answer> SocketMaker::ask(const std::string& question, int netns_fd) {
  auto answer = ask_once(question, netns_fd);
  if (!answer && pid_ < 0) answer = ask_once(question, netns_fd);  // somebody has killed it
  return answer;
}

Result<SocketMaker::Answer> SocketMaker::ask_once(const std::string& question, int netns_fd) {
  const auto in_vain = [&](const Error& cause) {
    stop();
    return fail_in("make sockets (" + question + ")", cause);
  };
  if (pid_ < 0)
    if (auto done = start(); !done) return in_vain(done.error());
  const auto sent = send_packet(socket_.get(), question, std::array{netns_fd});
  if (!sent) return in_vain(sent.error());
  if (auto ready = wait_readable(socket_.get(), kDeadlineMs); !ready) return in_vain(ready.error());
  auto packet = receive_packet(socket_.get());
  if (!packet) return in_vain(packet.error());
  if (!*packet || (*packet)->is_end()) return in_vain({"the process that makes them has ended"});
  const auto& text = (*packet)->text;
  if (!text.starts_with("ok")) return fail("make sockets (" + question + "): " + text.substr(text.find(' ') + 1));
  return Answer{.text = text.substr(2), .fds = std::move((*packet)->fds)};
}

Result<SocketMaker::Listening> SocketMaker::listen(int netns_fd, bool v6, std::uint16_t port) {
  auto answered = ask(std::string("listen ") + (v6 ? "6 " : "4 ") + std::to_string(port), netns_fd);
  if (!answered) return std::unexpected(answered.error());
  Listening out{.fd = std::move(answered->fds.at(0))};
  std::istringstream(answered->text) >> out.port;
  return out;
}

Result<std::vector<UniqueFd>> SocketMaker::dials(int netns_fd, bool v6, std::size_t count) {
  auto answered = ask(std::string("dial ") + (v6 ? "6 " : "4 ") + std::to_string(count), netns_fd);
  if (!answered) return std::unexpected(answered.error());
  return std::move(answered->fds);
}

}  // namespace underpass::workers
