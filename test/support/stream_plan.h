// SPDX-License-Identifier: Apache-2.0
// One checked stream, laid out beforehand: everything that is random about it follows from its seed, so that a seed is
// all that a failure has to report.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

namespace underpass::test {

enum class Family { kV4, kV6, kV4ToDualStack };

// How a reader learns that there is something to read.
enum class Wait { kBlocking, kPoll, kEpollLevel, kEpollEdge };

// Ends of a stream, and its directions: direction kClient is what the client sends.
inline constexpr int kClient = 0;
inline constexpr int kServer = 1;

inline constexpr std::uint64_t kUntilStopped = ~0ull;
inline constexpr std::uint64_t kNever = ~0ull;

struct DirectionPlan {
  std::uint64_t bytes = 0;         // kUntilStopped: as many as come before the engine is told to stop
  std::uint64_t max_message = 1;   // messages are 1 … max_message bytes, log-uniform
  std::uint64_t max_chunk = 1;     // so are reads
  std::uint64_t pause_one_in = 8;  // writer and reader yield or doze after one message in so many
  // The reader reads with MSG_WAITALL from this byte on; from 0 each read must be full, or the stream has ended.
  std::uint64_t wait_all_from = kNever;
  // SO_RCVLOWAT of the reader: no read before the end of the stream may give less.
  int low_water = 0;
  bool low_water_early = false;  // set before connect() or listen(), not just before the first read
};

// A mistake made on purpose by a writer, to prove that the reader sees it.
struct Fault {
  enum class Kind { kNone, kFlipByte, kDropByte, kRepeatByte, kSwapHalves, kEndEarly, kFallSilent } kind = Kind::kNone;
  int direction = kClient;
  std::uint64_t offset = 0;  // in the message that holds this byte
};

struct StreamPlan {
  std::uint64_t seed = 0;
  bool from_b = false;  // the client is at place b
  Family family = Family::kV4;
  std::array<DirectionPlan, 2> direction{};
  std::array<Wait, 2> wait{};  // of each end, for its reader
  // An end that does not half-close: it keeps its last message until it has read the other's end of stream, sends it
  // and closes at once. At most one end can.
  int closes_last = -1;
  bool defer_accept = false;  // TCP_DEFER_ACCEPT at the server
  bool fast_open = false;     // the first message rides on the SYN
  Fault fault{};
  std::chrono::milliseconds patience{20000};  // without any progress for so long it is stuck

  // "stream 17: client at a, IPv4, 1000 bytes there, …": enough to recognise it.
  [[nodiscard]] std::string to_string() const;
};

// A reader with SO_RCVLOWAT, and little enough to read that TCP keeps the promise: over a full receive buffer the
// kernel wakes a reader early, or lets it wait for ever (seen on 6.18 over plain TCP).
void plan_low_water(DirectionPlan& direction, std::uint64_t seed, bool early);

// The plan of a seed: up to `max_bytes` in each direction, either may be empty.
StreamPlan plan_stream(std::uint64_t seed, std::uint64_t max_bytes = 4u << 20);

}  // namespace underpass::test
