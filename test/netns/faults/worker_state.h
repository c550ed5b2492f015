// SPDX-License-Identifier: Apache-2.0
// What a worker's process has: that clients who go, or attack, leave nothing behind.
#pragma once

#include <filesystem>
#include <string>

#include "test/netns/http/ways.h"

namespace underpass::test {

inline std::size_t descriptors_of(pid_t pid) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
    ++count;
  return count;
}

// Sanitizers keep what is freed.
inline constexpr std::uint64_t kMayGrowKib = __has_feature(address_sanitizer) ? 256 * 1024 : 4 * 1024;

// Of its one worker, from now on.
class WorkerState {
 public:
  explicit WorkerState(const HttpGround& ground)
      : ground_(ground), rss_kib_(ground.worker_rss_kib()), descriptors_(descriptors_of(ground.scene.worker_pid())) {}

  // Dial sockets are kept in stock, and a server's connection may be kept for the next request.
  void check_same() const {
    std::size_t now = 0;
    const bool same = eventually(seconds(15), [&] {
      return (now = descriptors_of(ground_.scene.worker_pid())) <= descriptors_ + kMoreDescriptors;
    });
    CHECK_MESSAGE(same, now << " descriptors, before " << descriptors_);
    check_memory();
  }
  void check_memory() const {
    const auto rss = ground_.worker_rss_kib();
    CHECK_MESSAGE(rss < rss_kib_ + kMayGrowKib, rss << " KiB, before " << rss_kib_);
  }

 private:
  static constexpr std::size_t kMoreDescriptors = 40;

  const HttpGround& ground_;
  std::uint64_t rss_kib_;
  std::size_t descriptors_;
};

}  // namespace underpass::test
