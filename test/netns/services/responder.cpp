// SPDX-License-Identifier: Apache-2.0
#include "test/netns/services/responder.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

void keep_to_v6(int fd, int family) {
  if (family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
}

UniqueFd datagrams_at(const Place& place, int family, std::uint16_t port) {
  UniqueFd fd = socket_in(place.netns, family, SOCK_DGRAM);
  keep_to_v6(fd.get(), family);
  const Address address = Address::of(place.ip(family), port);
  if (::bind(fd.get(), address.get(), address.size) != 0) throw_errno("bind " + address.to_string());
  return fd;
}

}  // namespace

Responder::Responder(const Place& place, std::uint16_t port, std::string name)
    : name_(std::move(name)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  for (const int family : {AF_INET, AF_INET6}) {
    listeners_.push_back(listen_at(place, family, [&](int fd) { keep_to_v6(fd, family); }, port));
    set_nonblocking(listeners_.back().get(), true);
    datagrams_.push_back(datagrams_at(place, family, port));
  }
  thread_ = std::thread([this] { run(); });
}

Responder::~Responder() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(stop_.get(), &one, sizeof one));
  thread_.join();
}

void Responder::run() {
  for (;;) {
    std::vector<pollfd> waits{{stop_.get(), POLLIN, 0}};
    for (const UniqueFd& fd : listeners_) waits.push_back({fd.get(), POLLIN, 0});
    for (const UniqueFd& fd : datagrams_) waits.push_back({fd.get(), POLLIN, 0});
    for (const UniqueFd& fd : connections_) waits.push_back({fd.get(), POLLIN, 0});
    if (::poll(waits.data(), waits.size(), -1) < 0) continue;
    if (waits[0].revents != 0) return;
    std::size_t i = 1 + listeners_.size() + datagrams_.size();
    for (auto at = connections_.begin(); at != connections_.end(); ++i) {
      const bool over = waits[i].revents != 0 && !echo(at->get());
      at = over ? connections_.erase(at) : std::next(at);
    }
    i = 1;
    for (const UniqueFd& fd : listeners_) {
      if (waits[i++].revents != 0) accept_all(fd.get());
    }
    for (const UniqueFd& fd : datagrams_) {
      if (waits[i++].revents != 0) answer_all(fd.get());
    }
  }
}

void Responder::accept_all(int listener) {
  for (;;) {
    UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) return;
    ++served_;
    const std::string name = name_of(fd.get()) + "\n";
    if (::send(fd.get(), name.data(), name.size(), MSG_NOSIGNAL) < 0) continue;
    connections_.push_back(std::move(fd));
  }
}

void Responder::answer_all(int socket) {
  for (;;) {
    std::array<char, 2048> bytes;
    Address from;
    from.size = sizeof from.storage;
    if (::recvfrom(socket, bytes.data(), bytes.size(), MSG_DONTWAIT, from.get(), &from.size) < 0) return;
    ++served_;
    ::sendto(socket, name_.data(), name_.size(), MSG_NOSIGNAL, from.get(), from.size);
  }
}

// False: the client is done.
bool Responder::echo(int connection) {
  std::array<char, 16384> bytes;
  const ssize_t n = ::recv(connection, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN;
  if (n == 0) return false;
  try {
    send_all(connection, std::string(bytes.data(), static_cast<std::size_t>(n)));
  } catch (const std::exception&) {
    return false;  // the client is gone
  }
  return true;
}

std::string Responder::name_of(int connection) const {
  if (!name_.empty()) return name_;
  const std::string address = local_address(connection).to_string();
  return address.substr(0, address.rfind(':'));
}

}  // namespace underpass::test
