// SPDX-License-Identifier: Apache-2.0
#include "test/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace underpass::bench {

double median(Numbers values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double quantile(Numbers values, double q) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, values.begin() + at);
  return values[static_cast<std::size_t>(at)];
}

Interval median_interval(Numbers values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  // The number of values below the median is binomial with p = 1/2: leave out k at each end while the chance that the
  // median lies among those left out stays at most 5 %.
  const auto n = static_cast<double>(values.size());
  double term = std::pow(0.5, n);  // P(exactly k below)
  double tail = term;              // P(at most k below)
  std::size_t k = 0;
  while (k + 1 < values.size() / 2) {
    const auto next = static_cast<double>(k + 1);
    term *= (n - next + 1) / next;
    if (2 * (tail + term) > 0.05) break;
    tail += term;
    ++k;
  }
  return {values[k], values[values.size() - 1 - k]};
}

Numbers ratios(const Numbers& a, const Numbers& b) {
  Numbers out;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) out.push_back(b[i] > 0 ? a[i] / b[i] : 0);
  return out;
}

}  // namespace underpass::bench
