// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/tcp_dial.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/error.hpp>
#include <utility>
#include <vector>

namespace underpass::k8s {
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

// A watch may be silent for minutes, so the kernel asks whether the peer lives: gone for sure after twice that time.
void keep_alive(int fd, std::chrono::seconds silence) {
  const auto set = [fd](int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof(value)); };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  constexpr int kProbes = 3;
  const int seconds = static_cast<int>(silence.count());
  set(IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / kProbes));
  set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, seconds * 1000);  // milliseconds
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

std::string address_text(const tcp::endpoint& endpoint) {
  const auto address = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(endpoint.port());
}

asio::awaitable<Result<std::vector<tcp::endpoint>>> find_addresses(std::shared_ptr<Session> session) {
  const auto& config = session->config;
  boost::system::error_code error;
  const auto address = asio::ip::make_address(config.host, error);
  if (!error) {
    std::vector<tcp::endpoint> only{{address, static_cast<std::uint16_t>(std::stoi(config.port))}};
    co_return only;
  }
  tcp::resolver resolver(co_await asio::this_coro::executor);
  auto [problem, found] = co_await resolver.async_resolve(config.host, config.port, kNoThrow);
  if (problem) co_return fail("look up " + config.host + ": " + problem.message());
  std::vector<tcp::endpoint> all;
  for (const auto& entry : found) all.push_back(entry.endpoint());
  co_return all;
}

IpAddress to_ip_address(const asio::ip::address& address) {
  const auto bytes = address.is_v6() ? address.to_v6().to_bytes()
                                     : asio::ip::make_address_v6(asio::ip::v4_mapped, address.to_v4()).to_bytes();
  up_addr out;
  std::ranges::copy(bytes, out.bytes);
  return IpAddress(out);
}

}  // namespace

std::string wire_cause(const boost::system::error_code& error) {
  return error == boost::beast::error::timeout ? "no answer in time" : error.message();
}

bool has_nothing_to_read(int fd) {
  std::array<char, 1> byte{};
  return ::recv(fd, byte.data(), byte.size(), MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

asio::awaitable<Result<void>> dial(boost::beast::tcp_stream* stream, const bool* closed,
                                   std::shared_ptr<Session> session) {
  const auto addresses = co_await find_addresses(session);
  if (!addresses) co_return std::unexpected(addresses.error());
  std::string problem = session->config.host + " has no address";
  for (const auto& address : *addresses) {
    if (*closed) co_return fail("closed");
    // Here, on the address that is dialled, so that no other answer to the same name can come in between.
    const auto allowed = session->may_dial ? session->may_dial(to_ip_address(address.address())) : Result<void>{};
    if (!allowed) {
      problem = allowed.error().message;
      continue;
    }
    stream->expires_after(session->timeouts.connect);
    auto [error] = co_await stream->async_connect(address, kNoThrow);
    if (!error && !*closed) {
      keep_alive(stream->socket().native_handle(), session->timeouts.silence);
      co_return Result<void>{};
    }
    problem = "connect to " + address_text(address) + ": " + wire_cause(error);
    if (stream->socket().is_open()) stream->close();
  }
  co_return fail(problem);
}

}  // namespace underpass::k8s
