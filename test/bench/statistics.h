// SPDX-License-Identifier: Apache-2.0
// The few numbers that a series of measurements is reduced to. All of them are order statistics: one disturbed slice of
// time must not move a result.
#pragma once

#include <vector>

namespace underpass::bench {

using Numbers = std::vector<double>;

// Of an even number of values the mean of the middle two; 0 of none.
double median(Numbers values);
double quantile(Numbers values, double q);

// Where the median lies with a confidence of at least 95 %, without any assumption on the distribution (the binomial
// interval of order statistics). Fewer than six values carry no such interval: then it is the smallest and the largest.
struct Interval {
  double low = 0;
  double high = 0;
};
Interval median_interval(Numbers values);

// a[i] / b[i]: of runs that lay side by side, so that a drift of the machine cancels out.
Numbers ratios(const Numbers& a, const Numbers& b);

}  // namespace underpass::bench
