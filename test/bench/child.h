// SPDX-License-Identifier: Apache-2.0
// A measured process: a fork of the benchmark that runs one function in one place and exchanges lists of numbers with
// the benchmark over a socket of their own. It dies with the benchmark, whatever happens.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "test/bench/place.h"
#include "test/bench/statistics.h"
#include "underpass/unique_fd.h"

namespace underpass::bench {

using Seconds = std::chrono::duration<double>;

// One end of the exchange. Messages keep their borders; an error travels like a message.
class Channel {
 public:
  explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}

  void send(const Numbers& numbers);
  void send_error(const std::string& message);
  // The other end's next message. Throws the other end's error, or one of our own: it ended, or the time is over.
  Numbers receive(std::chrono::milliseconds timeout = std::chrono::seconds(60));

 private:
  UniqueFd fd_;
};

class Child {
 public:
  // `body` runs in the child after it entered `place`; the child ends with it, and what it throws reaches the parent's
  // next receive().
  Child(const Place& place, const std::function<void(Channel&)>& body);
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), channel_(std::move(other.channel_)) {}
  Child& operator=(Child&&) = delete;
  ~Child();  // kills it where it still runs

  [[nodiscard]] Channel& channel() { return channel_; }

 private:
  pid_t pid_ = -1;
  Channel channel_{UniqueFd()};
};

}  // namespace underpass::bench
