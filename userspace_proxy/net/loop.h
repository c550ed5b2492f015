// SPDX-License-Identifier: Apache-2.0
// What a traffic thread runs: epoll, edge-triggered, a queue of work from other threads, and a cached clock.
//
// It stands in Asio's place on the data path only: Asio re-arms a descriptor by a system call before each wait that
// shall not hold a buffer, and takes a lock for it. Here a descriptor is registered once in its life. A connection that
// nothing happens on costs its own object and no more.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::net {

using Clock = std::chrono::steady_clock;

// Is told what epoll says of one descriptor. Must live until the round ends in which it was last registered: events
// that were fetched already are still delivered.
class Watcher {
 public:
  virtual void on_events(std::uint32_t events) = 0;

 protected:
  ~Watcher() = default;
};

class Loop;

// Tells a watcher of something that is no descriptor's as if epoll had, in the loop's next round.
class Signal {
 public:
  explicit Signal(Loop& loop) : loop_(loop) {}
  ~Signal();
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  // Null: nobody. What was raised while nobody watched is not told.
  void watch(Watcher* watcher) { watcher_ = watcher; }
  void raise(std::uint32_t events);

 private:
  friend class Loop;
  Loop& loop_;
  Watcher* watcher_ = nullptr;
  std::uint32_t events_ = 0;  // raised, and not told yet; 0: it is not in the loop's list
};

class Loop {
 public:
  using Work = std::move_only_function<void()>;

  static Result<std::unique_ptr<Loop>> make();

  // `events` as epoll_ctl takes them; false with errno where the kernel refuses.
  bool watch(int fd, std::uint32_t events, Watcher& watcher) { return control(EPOLL_CTL_ADD, fd, events, &watcher); }
  // Another set of events; what is ready already is told again.
  bool rewatch(int fd, std::uint32_t events, Watcher& watcher) { return control(EPOLL_CTL_MOD, fd, events, &watcher); }
  // Needed only for what somebody else holds a copy of: else close() does it.
  void unwatch(int fd) { control(EPOLL_CTL_DEL, fd, 0, nullptr); }

  // From any thread: `work` is done in the loop's thread.
  void post(Work work);

  // One round: waits until `until` at the most, then tells the watchers, does what was posted and tells of signals.
  void run_round(Clock::time_point until);

  // As of the beginning of this round.
  [[nodiscard]] Clock::time_point now() const { return now_; }

 private:
  friend class Signal;

  Loop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  bool control(int operation, int fd, std::uint32_t events, Watcher* watcher);
  void do_posted();
  void tell_signals();

  UniqueFd epoll_;
  UniqueFd wake_;  // eventfd: something was posted
  Clock::time_point now_ = Clock::now();
  std::array<epoll_event, 256> events_{};
  std::vector<Signal*> raised_;   // null: it is no more
  std::vector<Signal*> telling_;  // those of this round

  std::mutex mutex_;  // of posted_
  std::vector<Work> posted_;
};

}  // namespace underpass::net
