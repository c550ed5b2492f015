// SPDX-License-Identifier: Apache-2.0
#include "test/bench/round_trip.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "test/bench/statistics.h"
#include "test/bench/transfer.h"

namespace underpass::bench {
namespace {

using Clock = std::chrono::steady_clock;

void echo(const UniqueFd& socket, std::size_t bytes, Wait wait) {
  std::vector<std::byte> buffer(bytes);
  Reader reader(socket, wait);
  while (reader.all(buffer) && write_all(socket, buffer)) {
  }
}

void one_trip(const UniqueFd& socket, Reader& reader, std::vector<std::byte>& buffer) {
  if (!write_all(socket, buffer) || !reader.all(buffer)) throw std::runtime_error("round trip: peer closed");
}

// The time of every trip, in microseconds.
Numbers ping(const UniqueFd& socket, std::size_t bytes, Seconds duration, Wait wait) {
  std::vector<std::byte> buffer(bytes, std::byte{0x5a});
  Reader reader(socket, wait);
  for (const auto end = Clock::now() + duration / 5; Clock::now() < end;) one_trip(socket, reader, buffer);
  Numbers trips;
  trips.reserve(1 << 20);  // no page fault among the measurements of any usual duration
  std::fill_n(std::back_inserter(trips), 1 << 20, 0.0);
  trips.clear();
  const auto end = Clock::now() + duration;
  for (auto begin = Clock::now(); begin < end;) {
    one_trip(socket, reader, buffer);
    const auto now = Clock::now();
    trips.push_back(std::chrono::duration<double, std::micro>(now - begin).count());
    begin = now;
  }
  return trips;
}

}  // namespace

RoundTrip measure_round_trip(const Pair& pair, std::size_t bytes, Seconds duration, const WhileOpen& while_open) {
  Stream stream(
      pair,
      [&](const UniqueFd& socket, Channel& parent) {
        const Numbers trips = ping(socket, bytes, duration, pair.wait);
        const auto count = static_cast<double>(trips.size());
        parent.send(
            {median(trips), std::accumulate(trips.begin(), trips.end(), 0.0) / count, quantile(trips, 0.99), count});
        parent.receive();
      },
      [&](const UniqueFd& socket, Channel&) { echo(socket, bytes, pair.wait); });
  const Numbers result = stream.client().receive();
  if (while_open) while_open(pair, stream.port());
  stream.client().send({});
  return {result.at(0), result.at(1), result.at(2), static_cast<std::uint64_t>(result.at(3))};
}

}  // namespace underpass::bench
