// SPDX-License-Identifier: Apache-2.0
#include "test/bench/connect_rate.h"

#include <array>
#include <stdexcept>

#include "test/bench/transfer.h"
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
    if (Reader(socket).all(byte) && write_all(socket, byte)) Reader(socket).all(byte);  // until the client closes
  }
}

void use(const test::Address& server) {
  const UniqueFd socket = test::connect_from({}, server);
  std::array<std::byte, 1> byte{};
  if (!write_all(socket, byte) || !Reader(socket).all(byte)) throw std::runtime_error("connect: the server closed");
}

}  // namespace

double measure_connect_rate(const Pair& pair, int connections) {
  Child server(pair.server, [&](Channel& parent) { serve(pair, parent); });
  const auto server_address = pair.address(static_cast<std::uint16_t>(server.channel().receive().at(0)));
  Child client(pair.client, [&](Channel& parent) {
    for (int i = 0; i < connections / 10; ++i) use(server_address);
    const auto begin = Clock::now();
    for (int i = 0; i < connections; ++i) use(server_address);
    parent.send({connections / Seconds(Clock::now() - begin).count()});
  });
  return client.channel().receive().at(0);
}

}  // namespace underpass::bench
