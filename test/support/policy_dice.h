// SPDX-License-Identifier: Apache-2.0
// Random policies, workloads and connections of a world so small that they meet.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "agent/compile/policies.h"

namespace underpass::test {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}

  int below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  bool one_in(int chances) { return below(chances) == 0; }

  template <typename T>
  const T& pick(const std::vector<T>& all) {
    return all[static_cast<std::size_t>(below(static_cast<int>(all.size())))];
  }

  template <typename T>
  std::vector<T> some(const std::vector<T>& all, int most) {
    std::vector<T> out;
    for (int left = below(most + 1); left > 0; --left) out.push_back(pick(all));
    return out;
  }

 private:
  std::mt19937_64 random_;
};

compile::PolicyInput draw_policies(Dice& dice);
compile::PolicyTarget draw_target(Dice& dice);
compile::Attempt draw_attempt(Dice& dice);

// UNDERPASS_SEED repeats a run.
std::uint64_t draw_seed();

}  // namespace underpass::test
