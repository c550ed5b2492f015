// SPDX-License-Identifier: Apache-2.0
#include "test/bench/connect_rate.h"

#include <sys/socket.h>

#include <array>
#include <stdexcept>

#include "test/bench/transfer.h"
#include "test/support/files.h"
#include "test/support/sockets.h"

namespace underpass::bench {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void serve(const Pair& pair, Channel& parent) {
  const UniqueFd listener = listen_here(pair);
  parent.send({static_cast<double>(test::local_address(listener.get()).port())});
  while (true) {
    const UniqueFd socket = accept_one(listener);
    std::array<std::byte, 1> byte{};
    try {
      if (Reader(socket).all(byte) && write_all(socket, byte)) Reader(socket).all(byte);  // until the client closes
    } catch (const std::exception&) {
      continue;  // it was reset, as reset_at_close() wants it
    }
  }
}

void reset_at_close(int socket) {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  if (::setsockopt(socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0) test::throw_errno("SO_LINGER");
}

// How long the first byte took, in µs.
double use(const test::Address& server, const test::Prepare& prepare) {
  const auto begin = Clock::now();
  const UniqueFd socket = test::connect_from({}, server, prepare);
  std::array<std::byte, 1> byte{};
  if (!write_all(socket, byte) || !Reader(socket).all(byte)) throw std::runtime_error("connect: the server closed");
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

double time_connect(const test::Address& server, int type) {
  const UniqueFd socket = test::socket_in("", server.family(), type);
  reset_at_close(socket.get());
  const auto begin = Clock::now();
  if (::connect(socket.get(), server.get(), server.size) != 0) test::throw_errno("connect to " + server.to_string());
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

}  // namespace

ConnectRate measure_connects(const Pair& pair, int connections) {
  Child server(pair.server, [&](Channel& parent) { serve(pair, parent); });
  const auto server_address = pair.address(static_cast<std::uint16_t>(server.channel().receive().at(0)));
  Child client(pair.client, [&](Channel& parent) {
    const test::Prepare prepare = pair.port != 0 ? test::Prepare(reset_at_close) : nullptr;
    for (int i = 0; i < connections / 10; ++i) use(server_address, prepare);
    Numbers first_bytes;
    const auto begin = Clock::now();
    for (int i = 0; i < connections; ++i) first_bytes.push_back(use(server_address, prepare));
    parent.send({connections / Seconds(Clock::now() - begin).count(), median(first_bytes)});
  });
  const Numbers result = client.channel().receive();
  return {.per_second = result.at(0), .first_byte_us = result.at(1)};
}

double measure_connect_call(const Pair& pair, int type, int connections) {
  Child server(pair.server, [&](Channel& parent) { serve(pair, parent); });
  const auto server_address = pair.address(static_cast<std::uint16_t>(server.channel().receive().at(0)));
  Child client(pair.client, [&](Channel& parent) {
    for (int i = 0; i < connections / 10; ++i) time_connect(server_address, type);
    Numbers times;
    for (int i = 0; i < connections; ++i) times.push_back(time_connect(server_address, type));
    parent.send({median(times)});
  });
  return client.channel().receive().at(0);
}

}  // namespace underpass::bench
