// SPDX-License-Identifier: Apache-2.0
// A test kernel under emulation: booted once, and what kernels_guest found in it, by step.
#pragma once

#include <boost/json/object.hpp>
#include <map>
#include <string>
#include <vector>

namespace underpass::kernels {

// Names of the kernels as test/kernels/prepare knows them, oldest first.
inline const std::vector<std::string> kKernels{"5.10", "6.1", "6.12", "sid"};
// Between two others: booted by `scripts/test --long` only, since each takes minutes.
inline const std::string kLongKernel = "6.12";

struct Measured {
  std::string unavailable{};  // why there is no such kernel here; the rest is empty then
  std::string release{};      // as uname has it
  double seconds = 0;         // from power-on to power-off
  std::string failure{};      // the machine did not come to its end: why, and the end of its console
  std::map<std::string, boost::json::object> steps{};

  // Of a step that was not reported: an object that says so in "error".
  [[nodiscard]] boost::json::object step(const std::string& name) const;
  [[nodiscard]] bool started() const;       // the agent did
  [[nodiscard]] bool stays_on_tcp() const;  // a capability that short-circuit needs is missing
  // "exact", "guarded" or "tcp"; empty: the agent has no such row.
  [[nodiscard]] std::map<std::string, std::string> capabilities() const;
};

// Fetches what is missing, and boots the kernel, unless this process has done so already.
const Measured& measured(const std::string& kernel);

}  // namespace underpass::kernels
