// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/backoff.h"

#include <algorithm>
#include <random>
#include <utility>

namespace underpass::k8s {

using std::chrono::milliseconds;

double random_fraction() {
  thread_local std::mt19937_64 generator(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

Backoff::Backoff(BackoffLimits limits, Random random)
    : limits_(limits), random_(random ? std::move(random) : Random(random_fraction)) {}

milliseconds Backoff::next(std::optional<std::chrono::seconds> retry_after) {
  step_ = step_.count() == 0 ? limits_.first : std::min(step_ * 2, limits_.most);
  const auto part = static_cast<double>(step_.count()) * (0.5 + random_() / 2);
  const auto own = milliseconds(static_cast<milliseconds::rep>(part));
  if (!retry_after) return own;
  // Compared in seconds: the server's number may be any.
  if (*retry_after >= std::chrono::floor<std::chrono::seconds>(limits_.most_asked_for)) return limits_.most_asked_for;
  return std::max<milliseconds>(own, *retry_after);
}

}  // namespace underpass::k8s
