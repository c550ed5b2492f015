// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/self_test_cases.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>

#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

#include "agent/dataplane/netns.h"
#include "underpass/unique_fd.h"

namespace underpass::dataplane {
namespace {

#ifndef SO_NETNS_COOKIE
constexpr int SO_NETNS_COOKIE = 71;
#endif
#ifndef SO_COOKIE
constexpr int SO_COOKIE = 57;
#endif

constexpr const char* kAddress = "192.0.2.1";  // TEST-NET-1 (RFC 5737): nobody's
constexpr int kPatienceMs = 1000;

// What the kernel would not do; becomes a row.
struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void require(bool good, const std::string& what) {
  if (!good) throw Failed(what);
}

void require_call(bool good, const std::string& call) {
  if (!good) throw Failed(call + ": " + std::strerror(errno));
}

std::uint64_t cookie_of(int fd, int option) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  require_call(::getsockopt(fd, SOL_SOCKET, option, &cookie, &size) == 0, "read a cookie");
  return cookie;
}

UniqueFd tcp_socket() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  require_call(static_cast<bool>(fd), "socket");
  return fd;
}

void set_interface(int fd, const char* name, const char* address) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (address != nullptr) {
    auto& in = reinterpret_cast<sockaddr_in&>(request.ifr_addr);
    in.sin_family = AF_INET;
    ::inet_pton(AF_INET, address, &in.sin_addr);
    require_call(::ioctl(fd, SIOCSIFADDR, &request) == 0, std::string("address of ") + name);
  }
  request.ifr_flags = IFF_UP;
  require_call(::ioctl(fd, SIOCSIFFLAGS, &request) == 0, std::string("bring up ") + name);
}

// A pod of one process, which dials itself at its own address.
class Pod {
 public:
  explicit Pod(Maps& maps) : maps_(maps) {
    require_call(::unshare(CLONE_NEWNET) == 0, "a new network namespace");
    const UniqueFd fd = tcp_socket();
    set_interface(fd.get(), "lo", nullptr);
    set_interface(fd.get(), "lo:0", kAddress);
    netns_ = cookie_of(fd.get(), SO_NETNS_COOKIE);
    up_pod row{};
    row.mode = UP_MODE_ON;
    row.namespace_id = 1;
    maps_.add_pool(netns_);
    maps_.add_habits(netns_);
    require(maps_.put_pod(netns_, row).has_value(), "write up_pods");
    require(maps_.put_ip(IpAddress::parse(kAddress).value(), netns_).has_value(), "write up_ips");
  }
  [[nodiscard]] Maps& maps() const { return maps_; }

 private:
  Maps& maps_;
  NetnsCookie netns_ = 0;
};

class Pair {
 public:
  explicit Pair(const Pod& pod) : maps_(pod.maps()) {
    const UniqueFd listener = tcp_socket();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    ::inet_pton(AF_INET, kAddress, &address.sin_addr);
    socklen_t size = sizeof(address);
    require_call(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
    require_call(::listen(listener.get(), 1) == 0, "listen");
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
    client = tcp_socket();
    const int connected = ::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size);
    require_call(connected == 0 || errno == EINPROGRESS, "connect");
    wait(listener.get(), POLLIN, "accept");
    server.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    require_call(static_cast<bool>(server), "accept");
    wait(client.get(), POLLOUT, "connect");
    id_ = cookie_of(client.get(), SO_COOKIE);
  }

  static void wait(int fd, short events, const char* what) {
    pollfd waiting{.fd = fd, .events = events, .revents = 0};
    require(::poll(&waiting, 1, kPatienceMs) == 1, std::string(what) + ": poll() saw nothing");
  }
  static void send(int fd, const std::string& bytes) {
    require_call(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()), "send");
  }
  static std::string receive(int fd, std::size_t count, int flags = MSG_DONTWAIT) {
    std::string out;
    while (out.size() < count) {
      wait(fd, POLLIN, "recv");
      std::string piece(count - out.size(), '\0');
      const ssize_t n = ::recv(fd, piece.data(), piece.size(), flags);
      require_call(n >= 0, "recv");
      require(n > 0, "recv: the stream ended early");
      out.append(piece, 0, static_cast<std::size_t>(n));
    }
    return out;
  }
  void exchange(int times) const {
    for (int i = 0; i < times; ++i) {
      const std::string there = "there " + std::to_string(i), back = "back " + std::to_string(i);
      send(client.get(), there);
      require(receive(server.get(), there.size()) == there, "bytes arrived changed");
      send(server.get(), back);
      require(receive(client.get(), back.size()) == back, "bytes arrived changed");
    }
  }
  // Both directions redirect from here on.
  Pair& warm() {
    exchange(UP_FIRST_READS + 4);
    const auto now = record();
    require(now.dir[UP_CLIENT].redirected_bytes > 0 && now.dir[UP_SERVER].redirected_bytes > 0,
            "nothing went socket to socket");
    return *this;
  }
  // `bytes` wait at the server's end, redirected.
  void queue(const std::string& bytes) const {
    const auto before = record().dir[UP_CLIENT].redirected_bytes;
    send(client.get(), bytes);
    wait(server.get(), POLLIN, "redirected bytes");
    require(record().dir[UP_CLIENT].redirected_bytes == before + bytes.size(), "a message was not redirected");
  }
  [[nodiscard]] up_conn record() const {
    const auto connection = maps_.connection(id_);
    require(connection.has_value(), "the connection has no record");
    return connection->record;
  }
  [[nodiscard]] bool has_trait(int sender, up_why why) const {
    return (record().dir[sender].traits & UP_TRAIT(why)) != 0;
  }

  UniqueFd client, server;

 private:
  Maps& maps_;
  std::uint64_t id_ = 0;
};

int fionread(int fd) {
  int count = -1;
  require_call(::ioctl(fd, FIONREAD, &count) == 0, "FIONREAD");
  return count;
}

// --- the cases: each returns its result and reason -------------------------------------------------------------------

struct Finding {
  std::string result;
  std::string reason;
};

Finding exact(std::string reason) { return {"exact", std::move(reason)}; }
Finding guarded(std::string reason) { return {"guarded", std::move(reason)}; }

Finding redirect(const Pod& pod) {
  Pair pair(pod);
  pair.warm().exchange(100);
  return exact("payload moves socket to socket, in order");
}

Finding peek(const Pod& pod) {
  Pair pair(pod);
  pair.warm().queue("0123456789");
  require(Pair::receive(pair.server.get(), 10, MSG_PEEK | MSG_DONTWAIT) == "0123456789", "MSG_PEEK shows other bytes");
  require(Pair::receive(pair.server.get(), 10) == "0123456789", "what was peeked at is gone");
  return exact("MSG_PEEK shows redirected bytes and leaves them");
}

Finding end_of_stream(const Pod& pod) {
  Pair pair(pod);
  pair.warm().queue("last");
  ::shutdown(pair.client.get(), SHUT_WR);
  require(Pair::receive(pair.server.get(), 4) == "last", "bytes before the end were lost");
  Pair::wait(pair.server.get(), POLLIN, "end of stream");
  char byte = 0;
  require(::recv(pair.server.get(), &byte, 1, MSG_DONTWAIT) == 0, "no end of stream after the last byte");
  pair.send(pair.server.get(), "answer");
  require(Pair::receive(pair.client.get(), 6) == "answer", "the other direction ended too");
  return exact("bytes, then the end of the stream; the other direction goes on");
}

Finding options(const Pod& pod) {
  Pair pair(pod);
  pair.warm();
  const int low_water = 100;
  ::setsockopt(pair.server.get(), SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof(low_water));
  const auto before = pair.record().dir[UP_CLIENT].redirected_bytes;
  pair.send(pair.client.get(), "x");
  require(pair.record().dir[UP_CLIENT].redirected_bytes == before && pair.has_trait(UP_CLIENT, UP_WHY_RCVLOWAT),
          "SO_RCVLOWAT of the reader was not seen");
  return guarded("SO_RCVLOWAT, SO_ZEROCOPY, timestamps, TCP_ULP and the like keep messages on TCP");
}

Finding wait_all(const Pod& pod) {
  Pair pair(pod);
  const int flags = ::fcntl(pair.server.get(), F_GETFL);
  ::fcntl(pair.server.get(), F_SETFL, flags & ~O_NONBLOCK);
  pair.send(pair.client.get(), "0123");
  require(Pair::receive(pair.server.get(), 4, MSG_WAITALL) == "0123", "MSG_WAITALL");
  require(pair.has_trait(UP_CLIENT, UP_WHY_WAITALL) && pair.has_trait(UP_CLIENT, UP_WHY_BLOCKING),
          "MSG_WAITALL of a blocking reader was not seen");
  return guarded("MSG_WAITALL is seen, and keeps a connection on TCP");
}

Finding blocking(const Pod& pod) {
  Pair pair(pod);
  const int flags = ::fcntl(pair.server.get(), F_GETFL);
  ::fcntl(pair.server.get(), F_SETFL, flags & ~O_NONBLOCK);
  pair.send(pair.client.get(), "0123");
  require(Pair::receive(pair.server.get(), 4, 0) == "0123", "recv");
  require(pair.has_trait(UP_CLIENT, UP_WHY_BLOCKING), "a blocking reader was not seen");
  return guarded(
      "a reader asleep in recv() would get EAGAIN from a signal or a reset: auto keeps such workloads on TCP");
}

Finding urgent(const Pod& pod) {
  Pair pair(pod);
  require_call(::send(pair.client.get(), "ab!", 3, MSG_OOB) == 3, "send MSG_OOB");
  (void)Pair::receive(pair.server.get(), 2);
  require(pair.has_trait(UP_CLIENT, UP_WHY_URGENT), "MSG_OOB was not seen");
  return guarded("MSG_OOB is seen, and keeps a connection on TCP");
}

Finding unread_close(const Pod& pod) {
  Pair pair(pod);
  pair.warm().queue("never read");
  pair.server.reset();
  require(pair.record().broken == UP_WHY_UNREAD_CLOSE, "a close with unread redirected bytes was not seen");
  return guarded("a close with unread redirected bytes sends a FIN: the agent resets the connection, as TCP would");
}

Finding tcp_info_counters(const Pod& pod) {
  Pair pair(pod);
  pair.warm();
  const auto received = [&] {
    tcp_info info{};
    socklen_t size = sizeof(info);
    ::getsockopt(pair.server.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
    return info.tcpi_bytes_received;
  };
  const auto before = received();
  pair.queue("0123456789");
  if (received() == before + 10) return exact("TCP_INFO counts redirected bytes");
  return guarded("TCP_INFO counts the bytes that went by TCP alone; `underpassctl connections` counts all");
}

Finding splice_seen(const Pod& pod) {
  Pair pair(pod);
  pair.warm();
  int fds[2] = {};
  require_call(::pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0, "pipe");
  const UniqueFd out(fds[0]), in(fds[1]);
  (void)::splice(pair.server.get(), nullptr, in.get(), nullptr, 10, SPLICE_F_NONBLOCK);
  require(pair.record().why == UP_WHY_SPLICE, "splice() was not seen");
  return guarded("splice() is seen as it begins, and leads a connection back to TCP");
}

// What FIONREAD says, of redirected bytes and of bytes that came by TCP to a mapped socket.
unsigned fionread_counts(const Pod& pod) {
  unsigned bits = 0;
  Pair redirected(pod);
  redirected.warm().queue("0123456789");
  if (fionread(redirected.server.get()) == 10) bits |= 1u;
  const Pair fresh(pod);
  Pair::send(fresh.client.get(), "0123456789");
  Pair::wait(fresh.server.get(), POLLIN, "the first message");
  if (fionread(fresh.server.get()) == 10) bits |= 2u;
  return bits;
}

Finding fionread_seen(const Pod& pod, unsigned counts, bool tested) {
  if (counts == 3) return exact("FIONREAD counts what was redirected and what came by TCP");
  const std::string wrong = counts == 1   ? "of a mapped socket it leaves out what came by TCP"
                            : counts == 2 ? "of a mapped socket it leaves out what was redirected"
                                          : "of a mapped socket it is wrong";
  if (tested) {
    Pair pair(pod);
    pair.warm();
    (void)fionread(pair.server.get());
    require(pair.record().why == UP_WHY_FIONREAD, "FIONREAD was not seen, and " + wrong);
  }
  return guarded("FIONREAD is seen, as " + wrong + ", and leads a connection back to TCP");
}

void report(std::string& out, const char* name, const std::function<Finding()>& run) {
  Finding finding;
  try {
    finding = run();
  } catch (const std::exception& failed) {
    finding = {"tcp", failed.what()};
  }
  out += std::string(name) + '\t' + finding.result + '\t' + finding.reason + '\n';
}

}  // namespace

std::string run_self_test_cases(Maps& maps, bool calls_are_tested, bool calls_watched_already) {
  std::string out;
  std::optional<Pod> pod;
  unsigned counts = 0;
  try {
    pod.emplace(maps);
    counts = fionread_counts(*pod);
  } catch (const std::exception& failed) {
    return std::string("self-test\ttcp\t") + failed.what() + "\n";
  }
  using Case = Finding (*)(const Pod&);
  for (const auto& [name, run] : {
           std::pair<const char*, Case>{"redirect", redirect},
           {"peek", peek},
           {"end-of-stream", end_of_stream},
           {"socket-options", options},
           {"wait-all", wait_all},
           {"blocking-readers", blocking},
           {"urgent-data", urgent},
           {"unread-close", unread_close},
           {"tcp-info", tcp_info_counters},
       })
    report(out, name, [&] { return run(*pod); });
  if (calls_are_tested) report(out, "splice", [&] { return splice_seen(*pod); });
  if (!calls_are_tested && calls_watched_already)
    out += "splice\tguarded\tsplice() is seen by what an earlier agent attached\n";
  // Where it can neither be answered rightly nor seen, the row of the call watch says so.
  if (counts == 3 || calls_are_tested || calls_watched_already)
    report(out, "fionread", [&] { return fionread_seen(*pod, counts, calls_are_tested); });
  return out + "fionread-counts\t" + std::to_string(counts) + "\n";
}

}  // namespace underpass::dataplane
