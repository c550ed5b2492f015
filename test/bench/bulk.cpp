// SPDX-License-Identifier: Apache-2.0
#include "test/bench/bulk.h"

#include <vector>

#include "test/bench/transfer.h"

namespace underpass::bench {
namespace {

using Clock = std::chrono::steady_clock;

// The client's part: writes until warm-up and measurement are over and a little longer, so that the reader never
// measures the end.
void pour(const UniqueFd& socket, std::size_t write_bytes, Seconds duration, Channel& parent) {
  const std::vector<std::byte> buffer(write_bytes, std::byte{0x5a});
  const auto end = Clock::now() + duration * 1.3;
  while (Clock::now() < end && write_all(socket, buffer)) {
  }
  parent.send({});
  parent.receive();
}

double drink(const UniqueFd& socket, Seconds duration, Wait wait) {
  std::vector<std::byte> buffer(kBulkReadBytes);
  Reader reader(socket, wait);
  const auto read = [&] { return static_cast<double>(reader.some(buffer)); };
  double bytes = read();
  const auto warm = Clock::now() + duration / 5;
  while (Clock::now() < warm) read();
  const auto begin = Clock::now();
  auto now = begin;
  for (bytes = 0; now - begin < duration; now = Clock::now()) bytes += read();
  while (read() > 0) {
  }
  return bytes * 8 / 1e9 / Seconds(now - begin).count();
}

}  // namespace

double measure_bulk(const Pair& pair, std::size_t write_bytes, Seconds duration, const WhileOpen& while_open) {
  Stream stream(
      pair, [&](const UniqueFd& socket, Channel& parent) { pour(socket, write_bytes, duration, parent); },
      [&](const UniqueFd& socket, Channel& parent) { parent.send({drink(socket, duration, pair.wait)}); });
  stream.client().receive();
  if (while_open) while_open(pair, stream.port());
  stream.client().send({});
  return stream.server().receive().at(0);
}

}  // namespace underpass::bench
