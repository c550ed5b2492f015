// SPDX-License-Identifier: Apache-2.0
// What the writers, the readers and the watchdog of one stream share.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "test/support/payload.h"
#include "test/support/stream_plan.h"
#include "underpass/unique_fd.h"

namespace underpass::test {

class StreamState {
 public:
  StreamState(const StreamPlan& planned, const std::atomic<bool>& stop_flag)
      : plan(planned),
        stop(stop_flag),
        payload{Payload(Random::mix(plan.seed * 2)), Payload(Random::mix(plan.seed * 2 + 1))} {}

  // The first failure counts: it ends the stream, and what follows from that is no news.
  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = what;
    failed.store(true);
    for (const UniqueFd& fd : fds_) {
      if (fd) ::shutdown(fd.get(), SHUT_RDWR);
    }
  }

  // An end's socket, once it is there. Held here so that nobody shuts down a number that is already another file's.
  int adopt(int end, UniqueFd fd) {
    const std::lock_guard lock(mutex_);
    fds_[end] = std::move(fd);
    return fds_[end].get();
  }
  void close(int end) {
    const std::lock_guard lock(mutex_);
    fds_[end].reset();
  }

  void end_done() {
    const std::lock_guard lock(mutex_);
    ++ends_done_;
    changed_.notify_all();
  }
  // True: both ends are done.
  bool wait_done(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return ends_done_ == 2; });
  }

  [[nodiscard]] std::string failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  // How each end stands, for the report of a stuck stream.
  [[nodiscard]] std::string describe();

  const StreamPlan& plan;
  const std::atomic<bool>& stop;
  const std::array<Payload, 2> payload;              // by direction
  std::array<std::atomic<std::uint64_t>, 2> sent{};  // by direction
  std::array<std::atomic<std::uint64_t>, 2> received{};
  std::atomic<std::uint64_t> false_eagain = 0;
  std::atomic<bool> failed = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<UniqueFd, 2> fds_;
  std::string failure_;
  int ends_done_ = 0;
};

// Sends direction `end` through `fd`. Where this end closes last, `last_word` waits for the reader before the last
// message.
class StreamWriter {
 public:
  StreamWriter(StreamState& state, int end, int fd);
  // Everything but what finish() is to send.
  void run();
  // The message that was kept back, if this end closes last.
  void finish();
  // Sends the first message with the SYN; the socket is connected afterwards.
  void fast_open(const sockaddr* to, socklen_t size);

 private:
  std::uint64_t next_message();
  void send_message(std::uint64_t size);
  bool send_part(const char* data, std::size_t size, int flags);
  bool send_by_file(const char* data, std::size_t size);
  std::size_t spoil(std::uint64_t offset, std::size_t size);
  bool wait_writable() const;

  StreamState& state_;
  const int end_;
  const int fd_;
  const DirectionPlan& plan_;
  Random random_;
  std::string buffer_;
  UniqueFd file_;
  bool ended_early_ = false;
};

// Reads and checks what the other end sends, until the end of the stream.
class StreamReader {
 public:
  StreamReader(StreamState& state, int end, int fd);
  void run();

 private:
  ssize_t read_some(std::size_t chunk);
  bool enough(std::size_t chunk, std::size_t got);
  bool wait_readable();
  bool check(const char* data, std::size_t size);

  StreamState& state_;
  const int direction_;
  const int fd_;
  const Wait wait_;
  const DirectionPlan& plan_;
  Random random_;
  std::string buffer_;
  std::string peeked_;
  UniqueFd epoll_;
};

// A yield or a doze of a millisecond, as chance has it.
void pause_sometimes(Random& random, std::uint64_t one_in);

}  // namespace underpass::test
