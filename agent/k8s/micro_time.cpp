// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/micro_time.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace underpass::k8s {

std::string micro_time(std::chrono::system_clock::time_point time) {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch());
  const std::time_t seconds = since.count() / 1'000'000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 24> day{};
  const auto size = std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%06dZ", static_cast<int>(since.count() % 1'000'000));
  return std::string(day.data(), size) + fraction.data();
}

}  // namespace underpass::k8s
