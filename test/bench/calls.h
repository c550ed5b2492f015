// SPDX-License-Identifier: Apache-2.0
// What single system calls of an ordinary process cost, over loopback inside one pod: the process that pays when the
// agent's hooks do. Everything happens in one process on one CPU, so nothing but the calls is in the numbers.
#pragma once

#include <array>
#include <map>
#include <string>

#include "test/bench/child.h"

namespace underpass::bench {

// In the order of the messages between the processes.
enum class Call { kConnect, kAccept, kSend, kRecv, kRecvLarge, kRecvUnix, kGetppid };
inline constexpr std::array kCalls{Call::kConnect,   Call::kAccept,   Call::kSend,   Call::kRecv,
                                   Call::kRecvLarge, Call::kRecvUnix, Call::kGetppid};

inline constexpr std::size_t kSmallBytes = 64;
inline constexpr std::size_t kLargeBytes = 16384;

class CallMeter {
 public:
  explicit CallMeter(const Place& place);

  // Nanoseconds a call, the median over thousands of short batches, with fresh sockets every few milliseconds.
  std::map<Call, double> measure(Seconds duration);

 private:
  Child child_;
};

}  // namespace underpass::bench
