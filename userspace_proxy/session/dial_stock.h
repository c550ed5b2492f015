// SPDX-License-Identifier: Apache-2.0
// One thread's unconnected sockets of one pod and family, and when to ask for more of them: below half of a batch, not
// again until an answer came or a second went by, and in batches that double while one lasts less than a second.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "underpass/unique_fd.h"

namespace underpass::session {

class DialStock {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::uint64_t kFirstBatch = 8;
  static constexpr std::uint64_t kMostBatch = 128;
  static constexpr std::chrono::seconds kPatience{1};

  // None where there is none.
  UniqueFd take(Time now) {
    if (sockets_.empty()) return {};
    UniqueFd socket = std::move(sockets_.back());
    sockets_.pop_back();
    if (sockets_.empty() && now - filled_ < kPatience) batch_ = std::min(batch_ * 2, kMostBatch);
    return socket;
  }

  void add(std::vector<UniqueFd> sockets, Time now) {
    std::ranges::move(sockets, std::back_inserter(sockets_));
    asked_ = false;
    filled_ = now;
  }

  // How many to ask for, if now is the time to ask. `waiting`: connections that found none.
  std::optional<std::uint64_t> ask(std::uint64_t waiting, Time now) {
    if (sockets_.size() >= batch_ / 2 && waiting == 0) return std::nullopt;
    if (asked_ && now - asked_at_ < kPatience) return std::nullopt;
    asked_ = true;
    asked_at_ = now;
    return std::min(batch_ + waiting, kMostBatch) - std::min<std::uint64_t>(sockets_.size(), batch_ - 1);
  }
  // Whoever was asked is gone: the next one is to be asked at once.
  void forget_asking() { asked_ = false; }

  // The older half, for a thread that has none.
  std::vector<UniqueFd> give_half() {
    const auto half = static_cast<std::ptrdiff_t>(sockets_.size() / 2);
    std::vector<UniqueFd> given(std::move_iterator(sockets_.begin()), std::move_iterator(sockets_.begin() + half));
    sockets_.erase(sockets_.begin(), sockets_.begin() + half);
    return given;
  }

  [[nodiscard]] std::size_t size() const { return sockets_.size(); }

 private:
  std::vector<UniqueFd> sockets_;
  std::uint64_t batch_ = kFirstBatch;
  bool asked_ = false;
  Time asked_at_{};
  Time filled_{};
};

}  // namespace underpass::session
