// SPDX-License-Identifier: Apache-2.0
// A reader that does not read, and a sender that sends until it is told to wait: what is queued then, and what the
// kernel spends on it. Afterwards the reader reads everything and every byte must be right.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "test/support/pod_net.h"

namespace underpass::test {

struct StallReport {
  std::uint64_t accepted = 0;         // bytes that send() took: all of them are queued somewhere
  std::uint64_t unavailable = 0;      // growth of MemTotal - MemAvailable
  std::uint64_t slab = 0;             // growth of SUnreclaim
  std::uint64_t message_objects = 0;  // growth of the 1 KiB objects
  std::uint64_t sockets = 0;          // what the two sockets hold (SO_MEMINFO)
  std::string failure;                // empty: stopped by EAGAIN, drained, right to the last byte

  [[nodiscard]] std::string to_string() const;
};

struct StallOptions {
  std::size_t message = 65536;
  // After so much nothing stops the sender. (TCP takes a million messages of one byte and more: it merges them.)
  std::uint64_t most_bytes = 64u << 20;
  std::uint64_t most_messages = 10'000'000;
  // Called with the client's socket when the sender has come to a stop.
  std::function<void(int client)> stalled{};
};

StallReport run_stalled_reader(const Place& client, const Place& server, int family, const StallOptions& options);

}  // namespace underpass::test
