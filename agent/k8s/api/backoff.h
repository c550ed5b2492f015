// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next try: twice as long each time, of which a random half is real, so that a hundred
// agents that lost their API server at one moment do not come back at one moment. What the server itself asks for
// (Retry-After) is waited for, within bounds.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

namespace underpass::k8s {

struct BackoffLimits {
  std::chrono::milliseconds first{200};
  std::chrono::milliseconds most{30'000};
  std::chrono::milliseconds most_asked_for{120'000};  // of a Retry-After
};

class Backoff {
 public:
  // From 0 to below 1.
  using Random = std::function<double()>;

  explicit Backoff(BackoffLimits limits = {}, Random random = nullptr);

  // Of the step's time between a half and the whole.
  std::chrono::milliseconds next(std::optional<std::chrono::seconds> retry_after = std::nullopt);
  // It worked: the next wait is the first again.
  void reset() { step_ = {}; }

 private:
  BackoffLimits limits_;
  Random random_;
  std::chrono::milliseconds step_{};
};

// From 0 to below 1, of this thread's own generator.
double random_fraction();

}  // namespace underpass::k8s
