// SPDX-License-Identifier: Apache-2.0
// How much work without use a peer may ask for: a bucket of tokens that time and useful work fill. The clock is looked
// at only when the bucket is empty, so that frames of honest peers cost a subtraction.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>

namespace underpass::http2 {

using Clock = std::function<std::chrono::steady_clock::time_point()>;

class Budget {
 public:
  Budget(double most, double per_second, const Clock& clock)
      : clock_(clock), most_(most), per_second_(per_second), left_(most), filled_(clock()) {}

  void earn(double tokens) { left_ = std::min(most_, left_ + tokens); }
  // False: nothing is left.
  [[nodiscard]] bool take(double tokens) {
    left_ -= tokens;
    if (left_ < 0) fill();
    return left_ >= 0;
  }

 private:
  void fill() {
    const auto now = clock_();
    earn(per_second_ * std::chrono::duration<double>(now - filled_).count());
    filled_ = now;
  }

  const Clock& clock_;  // outlives this
  double most_;
  double per_second_;
  double left_;
  std::chrono::steady_clock::time_point filled_;
};

}  // namespace underpass::http2
