// SPDX-License-Identifier: Apache-2.0
// Stands in for underpass-proxy in tests: the same sandbox, the same words with the agent, and then whatever harm it is
// told to do. It is told by whoever connects through it: each line that comes over a connection that it has accepted is
// a command, and a line is the answer. For other namespaces than "shop" it becomes the real worker.
//
//   peer                                          its connection's id and pod
//   known                                         who is at its ends, as UP_SO_PEER says
//   dial FAMILY NETNS CARRIES IP PORT HOW WHICH [CLIENT PORT]
//                                                 NETNS, CARRIES: number or "own"; CARRIES: or "none"; WHICH: "new" or
//                                                 "last" (the socket of the last dial); CLIENT: UP_SO_CLIENT
//   finish ID                                     closes its end of that client's connection
//   last bind|listen|send TEXT|close              with the socket of the last dial
//   call NAME                                     system_calls.h
//   say TEXT | say-with-socket TEXT               a packet to the agent; with this connection as descriptor
//   flood TEXT COUNT                              so often, waiting for room
//   claim NETNS|lie NETNS                         to the next agent: to have that pod's listeners; no descriptors, or
//   wrong deaf                                          answers no agent any more eat MEGABYTES of memory
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <list>
#include <map>
#include <optional>
#include <sstream>

#include "test/netns/hostile/system_calls.h"
#include "test/netns/hostile/worker_socket.h"
#include "underpass/abi.h"
#include "underpass/abi_names.h"
#include "underpass/ip_address.h"
#include "underpass/packet_socket.h"
#include "underpass/worker_codec.h"
#include "userspace_proxy/sandbox/sandbox.h"

namespace underpass::test {
namespace {

struct Pod {
  std::map<worker::Listener, UniqueFd> listeners;
  std::vector<UniqueFd> dials[2];  // IPv4, IPv6
};

struct Client {
  UniqueFd fd;
  NetnsCookie netns = 0;
  std::string heard;
  bool gone = false;
};

struct Claim {
  NetnsCookie netns = 0;
  bool with_sockets = false;
};

class HostileWorker {
 public:
  HostileWorker() : agent_(worker::kFirstAgentFd) {}

  [[noreturn]] void run() {
    greet();
    for (;;) {
      std::vector<pollfd> waiting{{worker::kControlListenerFd, POLLIN, 0}};
      if (agent_) waiting.push_back({agent_.get(), POLLIN, 0});
      for (const auto& [netns, pod] : pods_)
        for (const auto& [which, fd] : pod.listeners) waiting.push_back({fd.get(), POLLIN, 0});
      for (const auto& client : clients_) waiting.push_back({client.fd.get(), POLLIN, 0});
      ::poll(waiting.data(), waiting.size(), 500);
      take_agent();
      take_packets();
      accept_clients();
      for (auto& client : clients_)
        if (!client.gone) hear(client);
      std::erase_if(clients_, [](const Client& client) { return client.gone; });
      report();
    }
  }

 private:
  // --- with the agent, as any worker

  void greet() {
    say(worker::Hello{.version = UNDERPASS_VERSION, .revision = revision_});
    for (const auto& [netns, pod] : pods_) {
      worker::Listeners message{.netns = netns, .listeners = {}};
      std::vector<int> fds;
      for (const auto& [which, fd] : pod.listeners) {
        message.listeners.push_back(which);
        fds.push_back(fd.get());
      }
      say(message, fds);
    }
    for (const auto& claim : claims_) {
      worker::Listeners message{.netns = claim.netns, .listeners = {}};
      std::vector<int> fds;
      if (claim.with_sockets && !clients_.empty()) {
        for (const auto direction : {UP_OUTBOUND, UP_INBOUND}) {
          message.listeners.push_back({.direction = direction, .v6 = false});
          fds.push_back(clients_.front().fd.get());
        }
      }
      say(message, fds);
    }
    say(worker::Ready{});
  }

  void say(const worker::Message& message, const std::vector<int>& fds = {}) {
    if (agent_ && !mute_) (void)send_packet(agent_.get(), worker::encode(message), fds);
  }

  void take_agent() {
    UniqueFd fd(::accept4(worker::kControlListenerFd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    agent_ = std::move(fd);
    greet();
  }

  void take_packets() {
    while (agent_) {
      auto packet = receive_packet(agent_.get(), LostFds::kKeepRest);
      if (!packet || (*packet && (*packet)->is_end())) return agent_.reset();
      if (!*packet) return;
      const auto message = worker::decode((*packet)->text);
      if (!message) continue;
      std::visit([&](const auto& known) { take(known, (*packet)->fds); }, *message);
    }
  }

  void take(const worker::Config& config, std::vector<UniqueFd>&) {
    revision_ = config.revision;
    say(worker::Configured{.revision = config.revision, .cause = ""});
  }
  void take(const worker::Listeners& message, std::vector<UniqueFd>& fds) {
    for (std::size_t i = 0; i < std::min(fds.size(), message.listeners.size()); ++i)
      pods_[message.netns].listeners[message.listeners[i]] = std::move(fds[i]);
  }
  void take(const worker::Dials& message, std::vector<UniqueFd>& fds) {
    auto& dials = pods_[message.netns].dials[message.v6 ? 1 : 0];
    std::ranges::move(fds, std::back_inserter(dials));
  }
  void take(const worker::Forget& message, std::vector<UniqueFd>&) { pods_.erase(message.netns); }
  void take(const worker::Drain&, std::vector<UniqueFd>&) { ::_exit(0); }
  void take(const worker::Logs&, std::vector<UniqueFd>&) {}
  template <typename T>
  void take(const T&, std::vector<UniqueFd>&) {}

  void report() {
    worker::Report report{.connections = clients_.size()};
    for (const auto& [netns, pod] : pods_) report.dials[netns] = {pod.dials[0].size(), pod.dials[1].size()};
    say(report);
  }

  // --- with whom it serves

  void accept_clients() {
    for (const auto& [netns, pod] : pods_)
      for (const auto& [which, listener] : pod.listeners)
        for (;;) {
          UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
          if (!fd) break;
          clients_.push_back({.fd = std::move(fd), .netns = netns, .heard = ""});
        }
  }

  void hear(Client& client) {
    char buffer[4096];
    for (;;) {
      const ssize_t got = ::recv(client.fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) {
        client.gone = true;
        return;
      }
      client.heard.append(buffer, static_cast<std::size_t>(got));
    }
    for (std::size_t end = 0; (end = client.heard.find('\n')) != std::string::npos;) {
      const std::string line = client.heard.substr(0, end);
      client.heard.erase(0, end + 1);
      const std::string said = obey(client, line) + "\n";
      (void)!::send(client.fd.get(), said.data(), said.size(), MSG_NOSIGNAL);
    }
  }

  // --- what it is told to do

  std::string obey(Client& client, const std::string& line) {
    std::istringstream words(line);
    std::string verb, rest;
    words >> verb;
    if (verb == "dial") return dial(client, words);
    std::getline(words >> std::ws, rest);
    if (verb == "peer") return peer(client);
    if (verb == "known") return tell_ends(client);
    if (verb == "last") return use_last(rest);
    if (verb == "finish") return finish(std::stoull(rest));
    if (verb == "call") return try_system_call(rest);
    if (verb == "say") return say_text(rest, {});
    if (verb == "say-with-socket") return say_text(rest, {client.fd.get()});
    if (verb == "flood") return flood(rest);
    if (verb == "claim" || verb == "lie") {
      claims_.push_back({.netns = std::stoull(rest), .with_sockets = verb == "lie"});
      return "ok";
    }
    if (verb == "mute") {
      mute_ = true;
      return "ok";
    }
    if (verb == "eat") return eat(std::stoull(rest));
    return "unknown";
  }

  // Ends that client's connection in good order.
  std::string finish(std::uint64_t id) {
    for (auto& other : clients_) {
      const auto known = ask(other);
      if (!known || known->id != id) continue;
      const linger in_order{.l_onoff = 0, .l_linger = 0};
      (void)::setsockopt(other.fd.get(), SOL_SOCKET, SO_LINGER, &in_order, sizeof(in_order));
      other.fd.reset();
      other.gone = true;
      return "ok";
    }
    return "unknown";
  }

  static std::optional<up_peer> ask(const Client& client) {
    up_peer out{};
    socklen_t size = sizeof(out);
    if (::getsockopt(client.fd.get(), SOL_IP, UP_SO_PEER, &out, &size) != 0) return std::nullopt;
    return out;
  }

  static std::string peer(const Client& client) {
    const auto known = ask(client);
    if (!known) return "unknown";
    return "id=" + std::to_string(known->id) + " netns=" + std::to_string(client.netns);
  }

  static std::string tell_ends(const Client& client) {
    const auto known = ask(client);
    if (!known) return "unknown";
    const auto at = [](const up_addr& addr, __be16 port) {
      return IpAddress(addr).to_string() + " " + std::to_string(ntohs(port));
    };
    return std::string(name_of(static_cast<up_direction>(known->direction))) + " from " +
           at(known->client, known->client_port) + " to " + at(known->server, known->server_port) + " " +
           known->server_namespace + "/" + known->server_pod + " tunnel " +
           std::string(name_of(static_cast<up_tunnel>(known->tunnel))) +
           (known->server_identity >= UP_IDENTITY_FIRST_ACCOUNT ? " of an account" : "") +
           (known->client_netns != 0 ? " attested" : "");
  }

  std::string dial(const Client& client, std::istringstream& words) {
    int family = 0;
    std::string netns, carries, which;
    DialTry what;
    if (!(words >> family >> netns >> carries >> what.ip >> what.port >> what.how >> which)) return "usage";
    words >> what.client_ip >> what.client_port;
    if (carries == "own") {
      if (const auto known = ask(client)) what.carries = known->id;
    } else if (carries == "errand") {
      what.errand = true;
    } else if (carries != "none") {
      what.carries = std::stoull(carries);
    }
    if (which == "new") {
      auto& dials = pods_[netns == "own" ? client.netns : std::stoull(netns)].dials[family == 6 ? 1 : 0];
      if (dials.empty()) want(netns == "own" ? client.netns : std::stoull(netns), family == 6);
      if (dials.empty()) return "no-dials";
      last_ = std::move(dials.back());
      dials.pop_back();
    }
    return try_dial(last_.get(), what);
  }

  void want(NetnsCookie netns, bool v6) {
    say(worker::Want{.netns = netns, .v6 = v6, .count = 64});
    // What comes first may be something else.
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + std::chrono::seconds(2);
    pollfd answered{agent_.get(), POLLIN, 0};
    while (pods_[netns].dials[v6 ? 1 : 0].empty() && Clock::now() < until)
      if (::poll(&answered, 1, 100) == 1) take_packets();
  }

  std::string use_last(const std::string& what) {
    if (what == "close") return last_.reset(), "ok";
    if (what == "listen") return outcome(::listen(last_.get(), 1) == 0);
    if (what == "bind") {
      sockaddr nowhere{};
      nowhere.sa_family = AF_INET;
      return outcome(::bind(last_.get(), &nowhere, sizeof(sockaddr)) == 0);
    }
    const std::string text = what.substr(what.find(' ') + 1);
    return outcome(::send(last_.get(), text.data(), text.size(), MSG_NOSIGNAL) >= 0);
  }

  std::string say_text(const std::string& text, const std::vector<int>& fds) {
    const auto sent = send_packet(agent_.get(), text, fds);
    return sent && *sent ? "ok" : "not sent";
  }

  // "COUNT TEXT"; what comes back meanwhile is not read.
  std::string flood(const std::string& rest) {
    std::istringstream words(rest);
    std::size_t count = 0, sent = 0;
    std::string text;
    words >> count;
    std::getline(words >> std::ws, text);
    while (sent < count) {
      const auto done = send_packet(agent_.get(), text);
      if (!done) break;
      if (*done) {
        ++sent;
        continue;
      }
      pollfd room{agent_.get(), POLLOUT, 0};
      if (::poll(&room, 1, 2000) != 1) break;
    }
    return std::to_string(sent);
  }

  static std::string eat(std::size_t megabytes) {
    for (std::size_t i = 0; i < megabytes; ++i) {
      constexpr std::size_t kMegabyte = 1 << 20;
      void* at = ::mmap(nullptr, kMegabyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at == MAP_FAILED) return outcome(false);
      std::memset(at, 1, kMegabyte);
    }
    return "ok";
  }

  UniqueFd agent_;
  std::uint64_t revision_ = 0;
  std::map<NetnsCookie, Pod> pods_;
  std::list<Client> clients_;
  std::vector<Claim> claims_;
  UniqueFd last_;
  bool mute_ = false;
};

// "shop" of <run-dir>/workers/shop.sock.
std::string own_name() {
  sockaddr_un address{};
  socklen_t size = sizeof(address);
  if (::getsockname(worker::kControlListenerFd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return std::filesystem::path(address.sun_path).stem();
}

}  // namespace
}  // namespace underpass::test

int main(int, char** argv) {
  using underpass::test::own_name;
  if (own_name() != "shop") {
    const auto real = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "underpass-proxy";
    ::execv(real.c_str(), argv);
    return 1;
  }
  std::signal(SIGPIPE, SIG_IGN);
  if (::listen(underpass::worker::kControlListenerFd, 16) != 0) return 1;
  if (const auto done = underpass::sandbox::enter_sandbox({}); !done) {
    std::cerr << "hostile-worker " << done.error().message << "\n";
    return 1;
  }
  underpass::test::HostileWorker().run();
}
