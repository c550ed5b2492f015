// SPDX-License-Identifier: Apache-2.0
#include "test/bench/many.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <map>
#include <stdexcept>
#include <vector>

#include "test/bench/bulk.h"
#include "test/bench/transfer.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::bench {
namespace {

using Clock = std::chrono::steady_clock;

class Epoll {
 public:
  Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!fd_) test::throw_errno("epoll_create1");
  }
  void add(int fd, std::uint32_t events) { control(EPOLL_CTL_ADD, fd, events); }
  void change(int fd, std::uint32_t events) { control(EPOLL_CTL_MOD, fd, events); }
  // Calls `on_ready(fd)` for what is ready, having waited for something.
  template <typename OnReady>
  void round(OnReady on_ready) {
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) test::throw_errno("epoll_wait");
    for (int i = 0; i < count; ++i) on_ready(events[static_cast<std::size_t>(i)].data.fd);
  }

 private:
  void control(int operation, int fd, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    if (::epoll_ctl(fd_.get(), operation, fd, &event) != 0) test::throw_errno("epoll_ctl");
  }
  UniqueFd fd_;
};

void pour(const Pair& pair, const test::Address& to, int connections, std::size_t write_bytes, Seconds duration) {
  Epoll epoll;
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < connections; ++i) {
    const UniqueFd& socket = sockets.emplace_back(test::connect_from({}, to));
    test::set_nonblocking(socket.get(), true);
    epoll.add(socket.get(), EPOLLOUT);
  }
  const std::vector<std::byte> buffer(write_bytes, std::byte{0x5a});
  const auto end = Clock::now() + duration * 1.3;
  while (Clock::now() < end) {
    epoll.round([&](int fd) {
      if (::send(fd, buffer.data(), buffer.size(), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        test::throw_errno("send, " + pair.variant);
    });
  }
}

double drink(const UniqueFd& listener, int connections, Seconds duration) {
  Epoll epoll;
  std::map<int, UniqueFd> sockets;
  for (int i = 0; i < connections; ++i) {
    UniqueFd socket = accept_one(listener);
    epoll.add(socket.get(), EPOLLIN);
    sockets[socket.get()] = std::move(socket);
  }
  std::vector<std::byte> buffer(kBulkReadBytes);
  double bytes = 0;
  const auto round = [&] {
    epoll.round([&](int fd) {
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0 && errno != EAGAIN) test::throw_errno("recv");
      if (got == 0) sockets.erase(fd);
      if (got > 0) bytes += static_cast<double>(got);
    });
  };
  round();
  for (const auto warm = Clock::now() + duration / 5; Clock::now() < warm;) round();
  const auto begin = Clock::now();
  auto now = begin;
  for (bytes = 0; now - begin < duration && !sockets.empty(); now = Clock::now()) round();
  const double rate = bytes * 8 / 1e9 / Seconds(now - begin).count();
  while (!sockets.empty()) round();
  return rate;
}

[[noreturn]] void answer_all(const UniqueFd& listener) {
  Epoll epoll;
  std::map<int, UniqueFd> sockets;
  epoll.add(listener.get(), EPOLLIN);
  for (;;) {
    epoll.round([&](int fd) {
      if (fd == listener.get()) {
        UniqueFd socket = accept_one(listener);
        epoll.add(socket.get(), EPOLLIN);
        sockets[socket.get()] = std::move(socket);
        return;
      }
      char byte = 0;
      if (::recv(fd, &byte, 1, 0) != 1 || ::send(fd, &byte, 1, MSG_NOSIGNAL) != 1) sockets.erase(fd);
    });
  }
}

// The client's side of measure_many_connects().
class Dialer {
 public:
  explicit Dialer(const test::Address& to) : to_(to) {}

  void run(int at_once, int connections) {
    left_ = connections;
    for (int i = 0; i < at_once && left_ > 0; ++i) dial();
    while (!open_.empty()) epoll_.round([this](int fd) { go_on(fd); });
  }

 private:
  struct Open {
    UniqueFd fd;
    bool asked = false;
  };

  void dial() {
    --left_;
    UniqueFd socket = test::socket_in("", to_.family(), SOCK_STREAM | SOCK_NONBLOCK);
    if (::connect(socket.get(), to_.get(), to_.size) != 0 && errno != EINPROGRESS)
      test::throw_errno("connect to " + to_.to_string());
    epoll_.add(socket.get(), EPOLLOUT);
    const int fd = socket.get();
    open_[fd] = {.fd = std::move(socket)};
  }

  void go_on(int fd) {
    Open& one = open_.at(fd);
    char byte = 'u';
    if (!one.asked) {
      if (::send(fd, &byte, 1, MSG_NOSIGNAL) != 1) test::throw_errno("send to " + to_.to_string());
      one.asked = true;
      epoll_.change(fd, EPOLLIN);
      return;
    }
    const ssize_t got = ::recv(fd, &byte, 1, 0);
    if (got < 0) test::throw_errno("recv from " + to_.to_string());
    if (got == 0) throw std::runtime_error("connect: the server closed");
    open_.erase(fd);
    if (left_ > 0) dial();
  }

  test::Address to_;
  Epoll epoll_;
  std::map<int, Open> open_;
  int left_ = 0;
};

struct Server {
  Child child;
  test::Address address;
};

Server start_answering(const Pair& pair) {
  Child child(pair.server, [&](Channel& parent) {
    const UniqueFd listener = listen_here(pair);
    parent.send({static_cast<double>(test::local_address(listener.get()).port())});
    answer_all(listener);
  });
  const auto port = static_cast<std::uint16_t>(child.channel().receive().at(0));
  return {std::move(child), pair.address(port)};
}

}  // namespace

double measure_many_bulks(const Pair& pair, int connections, std::size_t write_bytes, Seconds duration) {
  Child server(pair.server, [&](Channel& parent) {
    const UniqueFd listener = listen_here(pair);
    parent.send({static_cast<double>(test::local_address(listener.get()).port())});
    parent.send({drink(listener, connections, duration)});
  });
  const auto to = pair.address(static_cast<std::uint16_t>(server.channel().receive().at(0)));
  Child client(pair.client, [&](Channel& parent) {
    pour(pair, to, connections, write_bytes, duration);
    parent.send({});
  });
  client.channel().receive();
  return server.channel().receive().at(0);
}

double measure_many_connects(const Pair& pair, int at_once, int connections) {
  const Server server = start_answering(pair);
  Child client(pair.client, [&](Channel& parent) {
    Dialer dialer(server.address);
    dialer.run(at_once, connections / 10);
    const auto begin = Clock::now();
    dialer.run(at_once, connections);
    parent.send({connections / Seconds(Clock::now() - begin).count()});
  });
  return client.channel().receive().at(0);
}

void with_idle_connections(const Pair& pair, int connections, const std::function<void()>& meanwhile) {
  const Server server = start_answering(pair);
  Child client(pair.client, [&](Channel& parent) {
    std::vector<UniqueFd> sockets;
    std::array<std::byte, 1> byte{};
    for (int i = 0; i < connections; ++i) {
      const UniqueFd& socket = sockets.emplace_back(test::connect_from({}, server.address));
      if (!write_all(socket, byte) || !Reader(socket).all(byte)) throw std::runtime_error("the server closed");
    }
    parent.send({});
    parent.receive();
  });
  client.channel().receive();
  meanwhile();
}

}  // namespace underpass::bench
