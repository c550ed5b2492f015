// SPDX-License-Identifier: Apache-2.0
// Pearson's chi-squared test, for what says that it is even.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace underpass::test {

// Whether p > 0.001 for counts of `seen` where `wanted` was expected. The quantile is Wilson and Hilferty's
// approximation (PNAS 1931), good to a few per mille from one degree of freedom on.
inline bool is_plausible(const std::vector<double>& seen, const std::vector<double>& wanted) {
  constexpr double kNormalQuantile = 3.0902;  // of 0.999
  double statistic = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    statistic += (seen[i] - wanted[i]) * (seen[i] - wanted[i]) / wanted[i];
  }
  const auto freedom = static_cast<double>(seen.size() - 1);
  const double spread = 2.0 / (9.0 * freedom);
  return statistic < freedom * std::pow(1.0 - spread + kNormalQuantile * std::sqrt(spread), 3);
}

}  // namespace underpass::test
