// SPDX-License-Identifier: Apache-2.0
// So many at once, so many a second.
#pragma once

#include <algorithm>
#include <chrono>

namespace underpass::k8s {

class TokenBucket {
 public:
  using Time = std::chrono::steady_clock::time_point;

  TokenBucket(double burst, double per_second) : burst_(burst), per_second_(per_second), tokens_(burst) {}

  bool take(Time now) {
    if (last_ != Time{} && now > last_) {
      const std::chrono::duration<double> passed = now - last_;
      tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    }
    last_ = std::max(last_, now);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  double burst_;
  double per_second_;
  double tokens_;
  Time last_;
};

}  // namespace underpass::k8s
